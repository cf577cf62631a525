package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
)

// Files in Config.Dir.
const (
	dataName     = "data"
	passwordName = "password"  // of the engine's role
	adminName    = "superuser" // password of the superuser
	passfileName = "pgpass"    // the engine's password as libpq reads it
	portName     = "port"
	lockName     = "lock"
	runName      = "run"
	logName      = "postgres.log"
)

// dirMode is the mode of the directory: the account passes through it where it is not
// the engine's own user. The files below are private.
func (a account) dirMode() fs.FileMode {
	if a.uid == uint32(os.Geteuid()) {
		return 0o700
	}
	return 0o711
}

// relocated holds the directories of clusters whose account cannot enter
// Config.Dir. Tests change it.
var relocated = "/var/lib/tidemark"

// openDir finds or creates the directory and sets dir and account. The
// directory belongs to the engine's user, so that the account cannot replace
// files there by links; the account only needs to pass through it.
func (s *Server) openDir(ctx context.Context) error {
	dir, err := filepath.Abs(s.cfg.Dir)
	if err != nil {
		return err
	}
	if exists(filepath.Join(dir, "PG_VERSION")) {
		return errors.New("the directory is itself a PostgreSQL cluster: use a directory of its own")
	}
	if s.account, err = clusterAccount(filepath.Join(dir, dataName)); err != nil {
		return err
	}
	target, err := os.Readlink(dir)
	linked := err == nil
	if linked && !exists(dir) {
		return fmt.Errorf("the link points to %s, which is gone: restore it, or remove the link to begin an empty cluster", target)
	}
	if err := os.MkdirAll(dir, s.account.dirMode()); err != nil {
		return err
	}
	if s.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	unused := isEmpty(s.dir)
	if unused {
		_ = os.Chmod(s.dir, s.account.dirMode()) // the directory may belong to another user
	}
	ok, err := s.account.canEnter(ctx, s.dir)
	if err != nil || ok {
		return err
	}
	if !unused || linked {
		return fmt.Errorf("postgres runs as user %s, who cannot enter %s: chmod o+x it and the directories above it, or move the cluster", s.account, s.dir)
	}
	return s.relocate(dir)
}

// relocate creates a directory below relocated and replaces dir, which is
// empty, by a link to it.
func (s *Server) relocate(dir string) error {
	if err := os.MkdirAll(relocated, 0o755); err != nil {
		return err
	}
	target, err := os.MkdirTemp(relocated, "")
	if err != nil {
		return err
	}
	if err := os.Chmod(target, s.account.dirMode()); err != nil {
		return err
	}
	if err := syscall.Rmdir(dir); err != nil { // ENOTDIR if another engine has just linked it
		return errors.Join(fmt.Errorf("replace %s by a link: %w", dir, err), os.Remove(target))
	}
	if err := os.Symlink(target, dir); err != nil {
		return err
	}
	s.dir = target
	s.log.Warn("the cluster is stored elsewhere and linked, because the user that runs postgres cannot enter the directory; after deleting the link, delete the cluster too",
		"dir", dir, "cluster", target, "user", s.account.String())
	return nil
}

// lockDir makes this process the only one that serves the directory. The kernel
// releases the lock when the process ends.
func (s *Server) lockDir(context.Context) error {
	path := filepath.Join(s.dir, lockName)
	s.lock = flock.New(path)
	ok, err := s.lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		holder, _ := os.ReadFile(path)
		return fmt.Errorf("another engine already runs here (pid %s): stop it, or use another data directory", strings.TrimSpace(string(holder)))
	}
	return os.WriteFile(path, fmt.Appendln(nil, os.Getpid()), 0o600) // for the message above
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}
