package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// readBlocksAgain lets the server read the blocks of streams that it will encrypt. With their
// index it would take an empty block as it is, find no subject of the first message that it
// writes there, and not open the stream again at the start after that (nats-server 2.15.3).
func (s *Server) readBlocksAgain() error {
	streams, err := filepath.Glob(filepath.Join(s.storeDir, server.JetStreamStoreDir, "*", "streams", "*"))
	if err != nil {
		return err
	}
	for _, stream := range streams {
		if _, err := os.Stat(filepath.Join(stream, server.JetStreamMetaFileKey)); !errors.Is(err, fs.ErrNotExist) { // encrypted
			continue
		}
		if err := removeIndex(filepath.Join(stream, "msgs")); err != nil {
			return fmt.Errorf("the stream %s: %w", filepath.Base(stream), err)
		}
	}
	return nil
}

// removeIndex removes the index of a stream that does not serve, and its empty blocks.
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
