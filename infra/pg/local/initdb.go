package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const unfinished = "initdb-" // prefix of a cluster in the making

// prepare chooses the binaries and makes the cluster if there is none, which
// fresh reports.
func (s *Server) prepare(ctx context.Context) (fresh bool, err error) {
	major, err := clusterMajor(s.data())
	if err != nil {
		return false, err
	}
	if s.bins, err = s.choose(major); err != nil {
		return false, err
	}
	if err := s.endOld(ctx); err != nil { // before a port is chosen: an orphan still has ours
		return false, err
	}
	if s.password, err = s.loadPassword(major == 0); err != nil {
		return false, err
	}
	if major != 0 {
		return false, nil
	}
	return true, s.initdb(ctx)
}

// clusterMajor reads the version of the PostgreSQL that made the cluster, 0 if
// there is no cluster yet.
func clusterMajor(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(data); err == nil && !isEmpty(data) {
			return 0, fmt.Errorf("%s holds something that is not a PostgreSQL cluster: move it away", data)
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || major <= 0 {
		return 0, fmt.Errorf("%s/PG_VERSION is damaged: it says %q", data, text)
	}
	return major, nil
}

// choose takes the highest major for a new cluster, and the cluster's own for
// an existing one: a data directory is readable by the major that made it alone
// (PostgreSQL manual, "Upgrading a PostgreSQL Cluster").
func (s *Server) choose(major int) (binaries, error) {
	found, err := find(s.cfg.BinDir, s.as)
	if err != nil {
		if major != 0 {
			err = fmt.Errorf("%w (the cluster needs PostgreSQL %d)", err, major)
		}
		return binaries{}, err
	}
	if major == 0 {
		return found[0], nil
	}
	names := make([]string, len(found))
	for i, b := range found {
		if b.major == major {
			return b, nil
		}
		names[i] = b.String()
	}
	return binaries{}, fmt.Errorf("the cluster in %s was made by PostgreSQL %d, and only %s was found; nothing was changed: "+
		"install PostgreSQL %d (apt-get install postgresql-%d) or name its programs with %s, or move the directory away to begin an empty cluster",
		s.home, major, strings.Join(names, ", "), major, major, EnvBinDir)
}

// loadPassword reads the superuser's password; for a cluster not yet made it
// writes one first, so that no cluster exists without.
func (s *Server) loadPassword(create bool) (string, error) {
	path := filepath.Join(s.home, passwordName)
	text, err := os.ReadFile(path)
	if password := strings.TrimSpace(string(text)); err == nil && password != "" {
		return password, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if !create {
		return "", fmt.Errorf("the cluster's password is missing: restore %s", path)
	}
	password := rand.Text()
	if err := writeWhole(path, password+"\n", 0o600, s.as); err != nil { // initdb reads it as the account
		return "", err
	}
	return password, nil
}

// initdb works in a sibling directory, which initdb syncs to disk, and renames
// it into place. The C locale orders text by bytes and, unlike the system's
// locales, sorts indexes the same after an upgrade of the C library.
func (s *Server) initdb(ctx context.Context) error {
	left, _ := filepath.Glob(filepath.Join(s.home, unfinished+"*"))
	for _, dir := range left {
		s.log.Info("removing an unfinished cluster", "dir", dir)
		_ = os.RemoveAll(dir)
	}
	tmp, err := os.MkdirTemp(s.home, unfinished)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // a no-op once renamed
	if err := s.as.give(tmp); err != nil {
		return err
	}
	out, err := run(ctx, s.as.command(s.home, filepath.Join(s.bins.dir, "initdb"),
		"--pgdata="+tmp, "--username="+role, "--pwfile="+filepath.Join(s.home, passwordName),
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"))
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(out, 10))
	}
	if err := os.Remove(s.data()); err != nil && !errors.Is(err, fs.ErrNotExist) { // only ever an empty directory
		return err
	}
	if err := os.Rename(tmp, s.data()); err != nil {
		return err
	}
	return syncDir(s.home)
}

// writeWhole puts text into a file of the account's such that after a crash
// there is all of it or none.
func writeWhole(path, text string, mode fs.FileMode, as account) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close(), as.give(f.Name()))
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
