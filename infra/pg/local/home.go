package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// What the home directory holds.
const (
	dataName     = "data"
	passwordName = "password"
	portName     = "port"
	lockName     = "lock"
	runName      = "run"
	socketName   = "socket-dir" // names the directory of the socket when it is not run
	logName      = "postgres.log"
)

// clusters is where a cluster goes that its user could not get to in
// Config.Dir. Tests move it.
var clusters = "/var/lib/tidemark"

// settle finds or makes the home directory. It belongs to us, not to the
// account, so that nothing root opens in it can be swapped for a link; the
// account needs no more than to pass through.
func (s *Server) settle() error {
	dir, err := filepath.Abs(s.cfg.Dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return errors.New("the directory is itself a PostgreSQL cluster; give the launcher a directory of its own")
	}
	if s.as, err = accountFor(filepath.Join(dir, dataName)); err != nil {
		return err
	}
	if target, err := os.Readlink(dir); err == nil {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the link points to %s, which is gone: restore that, or remove the link to begin an empty cluster", target)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if s.home, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	unused := isEmpty(s.home)
	if unused {
		_ = os.Chmod(s.home, s.homeMode()) // not ours to change, perhaps; then it has to do as it is
	}
	ok, err := s.as.reaches(s.home)
	if err != nil || ok {
		return err
	}
	if !unused || isLink(dir) {
		return fmt.Errorf("user %s, as whom postgres runs, cannot get into %s: chmod o+x it, or move the cluster", s.as.name, s.closedAt(s.home))
	}
	return s.relocate(dir)
}

func (s *Server) homeMode() fs.FileMode {
	if s.as.cred == nil {
		return 0o700
	}
	return 0o711
}

// relocate makes a home in clusters and leaves dir, which is empty, as a link
// to it.
func (s *Server) relocate(dir string) error {
	closed := s.closedAt(dir)
	target := filepath.Join(clusters, strings.ToLower(rand.Text()[:12]))
	if err := os.MkdirAll(clusters, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(target, 0o711); err != nil {
		return err
	}
	if err := os.Chmod(target, s.homeMode()); err != nil { // whatever the umask
		return err
	}
	if ok, err := s.as.reaches(target); err != nil || !ok {
		_ = os.Remove(target)
		return errors.Join(err, fmt.Errorf("user %s can get neither into %s nor into %s: chmod o+x one of them", s.as.name, closed, clusters))
	}
	if err := errors.Join(os.Remove(dir), os.Symlink(target, dir)); err != nil {
		_ = os.Remove(target)
		if isLink(dir) {
			return errors.New("another engine is starting in this directory")
		}
		return err
	}
	s.home = target
	s.log.Warn("the cluster is kept elsewhere and linked, because the user that postgres runs as cannot get into this directory; after deleting the link the cluster may be deleted too",
		"dir", dir, "cluster", target, "user", s.as.name, "closed", closed)
	return nil
}

// closedAt is the outermost directory on the way to path that the account
// cannot enter.
func (s *Server) closedAt(path string) string {
	if up := filepath.Dir(path); up != path {
		if at := s.closedAt(up); at != "" {
			return at
		}
	}
	if ok, err := s.as.reaches(path); err == nil && ok {
		return ""
	}
	return path
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// lockDir makes this process the directory's only launcher until the file is
// closed. The kernel drops the lock with the process, however that ends.
func lockDir(home string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(home, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another engine already runs here (pid %s): stop it, or use another data directory", strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintln(f, os.Getpid()) // only for the message above
	return f, nil
}
