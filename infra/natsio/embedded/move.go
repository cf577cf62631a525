package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// oldAccount owned the streams of builds that had one account for everybody.
const oldAccount = "$G"

// moveData gives the streams of an earlier build, or those of a backup that was restored
// beside other keys, to the account of the engine. A directory keeps its streams and
// consumers under another account's name.
func (s *Server) moveData(journal string) error {
	root := filepath.Join(s.storeDir, server.JetStreamStoreDir)
	to := filepath.Join(root, s.auth.Engine())
	from, err := foreign(root, s.auth.Engine(), journal)
	if err != nil || from == "" {
		return err
	}
	if there, err := os.ReadDir(filepath.Join(to, "streams")); err == nil && len(there) > 0 {
		if filepath.Base(from) != oldAccount {
			return nil // left by a restore that was done before
		}
		return fmt.Errorf("both %s and %s hold streams: an earlier build has worked on this data directory after a later one. Move away the one that is out of date", from, to)
	}
	note := fmt.Sprintf("%s: the streams of the account %s were moved to the engine's own account, so that clients cannot reach them.\n"+
		"from %s\nto   %s\nWhat had them before finds them again when the engine is stopped and the directory is renamed back.\n",
		time.Now().UTC().Format(time.RFC3339), filepath.Base(from), from, to)
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
	if filepath.Base(from) != oldAccount {
		if err := s.moveClients(root, from); err != nil {
			return err
		}
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("move the streams of an earlier build: %w", err)
	}
	s.log.Info("the streams of an earlier build belong to the engine's own account now", "note", filepath.Join(s.storeDir, "moved-streams.txt"))
	return nil
}

// moveClients gives the streams of the clients of a restored backup to the clients of
// today. Beside the journal's account only theirs has streams.
func (s *Server) moveClients(root, journal string) error {
	dev := filepath.Join(root, s.auth.Dev())
	accounts, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return err
	}
	var found []string
	for _, dir := range accounts {
		streams, err := os.ReadDir(filepath.Join(dir, "streams"))
		if err == nil && len(streams) > 0 && dir != journal {
			found = append(found, dir)
		}
	}
	if len(found) != 1 || found[0] == dev {
		if len(found) > 1 {
			s.log.Warn("it is not known whose streams these are; they stay where they are", "directories", found)
		}
		return nil
	}
	if err := os.RemoveAll(dev); err != nil { // it has no streams
		return fmt.Errorf("make room for the streams of clients: %w", err)
	}
	if err := os.Rename(found[0], dev); err != nil {
		return fmt.Errorf("move the streams of clients: %w", err)
	}
	return nil
}

// foreign returns the directory of the account that had the engine's streams before; "" =
// there is none.
func foreign(root, engine, journal string) (string, error) {
	accounts, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the accounts of the embedded NATS server: %w", err)
	}
	var found []string
	for _, a := range accounts {
		if a.Name() == engine {
			continue
		}
		dir := filepath.Join(root, a.Name())
		streams, err := os.ReadDir(filepath.Join(dir, "streams"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the streams of an earlier build: %w", err)
		}
		if a.Name() == oldAccount && len(streams) > 0 || journal != "" && slices.ContainsFunc(streams, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), journal) }) {
			found = append(found, dir)
		}
	}
	if len(found) > 1 {
		return "", fmt.Errorf("several accounts hold a journal: %s. Move away those that are out of date", strings.Join(found, ", "))
	}
	return strings.Join(found, ""), nil
}
