package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/internal/files"
)

// A server that has a key for the first time encrypts the files of its streams in place, block
// by block. One that is killed meanwhile loses the messages of a block (nats-server 2.15.3). So
// the files are copied before, and an encryption that was interrupted begins again from the copy.
func (s *Server) streamsDir() string { return filepath.Join(s.storeDir, server.JetStreamStoreDir) }
func (s *Server) copyDir() string    { return filepath.Join(s.storeDir, "before-encryption") }

// endings of the copy while it is made, and while it is removed.
const (
	partial = ".partial"
	done    = ".done"
)

// restoreStreams puts the copy of the streams in place whose encryption was interrupted.
func (s *Server) restoreStreams() error {
	if err := errors.Join(os.RemoveAll(s.copyDir()+partial), os.RemoveAll(s.copyDir()+done)); err != nil {
		return err
	}
	if _, err := os.Stat(s.copyDir()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	s.log.Warn("the encryption of the streams was interrupted; they are as before it")
	if err := os.RemoveAll(s.streamsDir()); err != nil {
		return err
	}
	if err := os.Rename(s.copyDir(), s.streamsDir()); err != nil {
		return err
	}
	return files.Sync(s.storeDir)
}

// beginEncryption copies the streams if the server will encrypt some with a key. It reports
// whether.
func (s *Server) beginEncryption(key string) (begun bool, err error) {
	if key == "" {
		return false, nil
	}
	plain, err := s.plainStreams()
	if err != nil || len(plain) == 0 {
		return false, err
	}
	size, err := sizeOf(s.streamsDir())
	if err != nil {
		return false, err
	}
	if free, _, ok := s.Disk(); ok && free < size+size/10 {
		return false, fmt.Errorf("%d MiB are free on the disk, and the copy that protects the streams meanwhile needs %d MiB", free>>20, (size+size/10)>>20)
	}
	s.log.Info("the files of the streams are encrypted", "streams", len(plain), "bytes", size)
	temporary := s.copyDir() + partial
	err = os.CopyFS(temporary, os.DirFS(s.streamsDir()))
	if err == nil {
		err = syncAll(temporary)
	}
	if err == nil {
		err = os.Rename(temporary, s.copyDir())
	}
	if err != nil {
		return false, errors.Join(err, os.RemoveAll(temporary))
	}
	if err := files.Sync(s.storeDir); err != nil {
		return false, err
	}
	for _, stream := range plain {
		if err := removeIndex(filepath.Join(stream, "msgs")); err != nil {
			return false, fmt.Errorf("the stream %s: %w", filepath.Base(stream), err)
		}
	}
	return true, nil
}

// endEncryption removes the copy after the server has encrypted the streams.
func (s *Server) endEncryption() error {
	for root, user := range map[string]func() (string, string, error){"$JS.API.": s.auth.EngineUser, auth.OwnAPIRoot: s.auth.GateUser} {
		if err := s.keepCreated(root, user); err != nil { // the streams are whole all the same
			s.log.Warn("after the next start some streams or consumers count as made again", "error", err)
		}
	}
	if err := syncAll(s.streamsDir()); err != nil {
		return err
	}
	plain, err := s.plainStreams()
	if err != nil {
		return err
	}
	if len(plain) > 0 {
		return fmt.Errorf("the stream %s was not encrypted: the server's log says why", filepath.Base(plain[0]))
	}
	if err := os.Rename(s.copyDir(), s.copyDir()+done); err != nil {
		return err
	}
	return errors.Join(files.Sync(s.storeDir), os.RemoveAll(s.copyDir()+done))
}

// plainStreams are the directories of the streams that are not encrypted and that the server
// opens.
func (s *Server) plainStreams() (plain []string, err error) {
	for _, account := range []string{s.auth.Engine(), s.auth.Dev()} {
		streams, err := filepath.Glob(filepath.Join(s.streamsDir(), account, "streams", "*"))
		if err != nil {
			return nil, err
		}
		for _, stream := range streams {
			if !exists(filepath.Join(stream, server.JetStreamMetaFileKey)) && exists(filepath.Join(stream, server.JetStreamMetaFile)) {
				plain = append(plain, stream)
			}
		}
	}
	return plain, nil
}

// removeIndex removes the index of a stream that does not serve, and its empty blocks. With
// the index the server would take an empty block as it is, find no subject of the first message
// that it writes there, and not open the stream again at the start after that.
func removeIndex(msgs string) error {
	if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	blocks, err := filepath.Glob(filepath.Join(msgs, "*.blk"))
	if err != nil {
		return err
	}
	for _, block := range blocks {
		info, err := os.Stat(block)
		if err == nil && info.Size() == 0 {
			err = os.Remove(block)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sizeOf is the size of the files below a directory.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// syncAll makes the files and names below a directory durable. The server may replace some
// meanwhile.
func syncAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = files.Sync(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
