package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// oldAccount owned the streams of builds that had one account for everybody.
const oldAccount = "$G"

// moveData gives the streams of an earlier build to the account of the engine. A
// directory keeps its streams and consumers under another account's name.
func (s *Server) moveData() error {
	root := filepath.Join(s.storeDir, server.JetStreamStoreDir)
	from, to := filepath.Join(root, oldAccount), filepath.Join(root, s.auth.Engine())
	old, err := os.ReadDir(filepath.Join(from, "streams"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(old) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the streams of an earlier build: %w", err)
	}
	if there, err := os.ReadDir(filepath.Join(to, "streams")); err == nil && len(there) > 0 {
		return fmt.Errorf("both %s and %s hold streams: an earlier build has worked on this data directory after a later one. Move away the one that is out of date", from, to)
	}
	note := fmt.Sprintf("%s: the streams of the account %s were moved to the engine's own account, so that clients cannot reach them.\n"+
		"from %s\nto   %s\nAn earlier build finds them again when the engine is stopped and the directory is renamed back.\n",
		time.Now().UTC().Format(time.RFC3339), oldAccount, from, to)
	if err := os.WriteFile(filepath.Join(s.storeDir, "moved-streams.txt"), []byte(note), 0o600); err != nil {
		return fmt.Errorf("note that the streams move: %w", err)
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) { // empty
		if err = os.RemoveAll(filepath.Join(to, "streams")); err == nil {
			err = os.Remove(to)
		}
		if err != nil {
			return fmt.Errorf("make room for the streams of an earlier build: %w", err)
		}
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("move the streams of an earlier build: %w", err)
	}
	s.log.Info("the streams of an earlier build belong to the engine's own account now", "note", filepath.Join(s.storeDir, "moved-streams.txt"))
	return nil
}
