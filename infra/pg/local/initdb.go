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

	"github.com/tidemark-engine/tidemark/internal/files"
)

const unfinished = "initdb-" // prefix of a cluster that initdb has not completed

// prepareCluster chooses the binaries, ends what an earlier engine left running,
// and creates the cluster if there is none.
func (s *Server) prepareCluster(ctx context.Context) error {
	major, err := clusterMajor(s.pgdata())
	if err != nil {
		return err
	}
	if s.bins, err = chooseBinaries(ctx, major, s.account); err != nil {
		return err
	}
	if err := s.loadPasswords(major == 0); err != nil {
		return err
	}
	if major == 0 {
		return s.initdb(ctx)
	}
	return s.endOrphans(ctx, orphanWait) // before the port is chosen: an orphan still has it
}

// clusterMajor returns the PostgreSQL major that created the cluster, 0 if
// there is no cluster.
func clusterMajor(pgdata string) (int, error) {
	text, err := os.ReadFile(filepath.Join(pgdata, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if exists(pgdata) && !isEmpty(pgdata) {
			return 0, fmt.Errorf("%s holds files that are not a PostgreSQL cluster: move it away", pgdata)
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || major <= 0 {
		return 0, fmt.Errorf("%s/PG_VERSION is damaged, it contains %q: restore it from a backup", pgdata, text)
	}
	return major, nil
}

// loadPasswords reads the passwords. With create it writes them first if there are
// none: initdb sets the superuser's, so no cluster exists without a password. A
// cluster of an earlier build has no superuser apart from the engine's role; its
// password is written before setUp makes one.
func (s *Server) loadPasswords(create bool) (err error) {
	if s.password, err = s.loadPassword(passwordName, create); err != nil {
		return err
	}
	if s.admin, err = s.loadPassword(adminName, true); err != nil {
		return err
	}
	path := filepath.Join(s.dir, passfileName)
	line := fmt.Appendf(nil, "*:*:*:%s:%s\n", role, s.password)
	if text, err := os.ReadFile(path); err == nil && string(text) == string(line) {
		return nil
	}
	return os.WriteFile(path, line, 0o600)
}

func (s *Server) loadPassword(name string, create bool) (string, error) {
	path := filepath.Join(s.dir, name)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if password := strings.TrimSpace(string(text)); password != "" {
		return password, nil
	}
	if !create {
		return "", fmt.Errorf("the cluster's password is missing: restore %s", path)
	}
	password := rand.Text()
	return password, errors.Join(os.WriteFile(path, []byte(password+"\n"), 0o600), s.account.chown(path), files.Sync(path))
}

// initdb creates the cluster in a directory beside pgdata and renames it, so
// that a crash leaves a whole cluster or none. Locale C orders text by bytes;
// an upgrade of the C library does not change its order, as it may for others.
func (s *Server) initdb(ctx context.Context) error {
	entries, _ := os.ReadDir(s.dir)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), unfinished) {
			_ = os.RemoveAll(filepath.Join(s.dir, entry.Name()))
		}
	}
	tmp, err := os.MkdirTemp(s.dir, unfinished)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := s.account.chown(tmp); err != nil {
		return err
	}
	out, err := s.account.run(ctx, s.dir, filepath.Join(s.bins.dir, "initdb"),
		"--pgdata="+tmp, "--username="+superuser, "--pwfile="+filepath.Join(s.dir, adminName),
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions")
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(out))
	}
	if err := os.Remove(s.pgdata()); err != nil && !errors.Is(err, fs.ErrNotExist) { // fails unless it is empty
		return err
	}
	return errors.Join(os.Rename(tmp, s.pgdata()), files.Sync(s.dir))
}
