package local

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// fingerprint covers every name, mode, time and byte below dir.
func fingerprint(t *testing.T, dir string) [32]byte {
	t.Helper()
	h := sha256.New()
	harness.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(h, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			h.Write(text)
		}
		return nil
	}))
	return [32]byte(h.Sum(nil))
}

func TestOtherMajorIsRefusedAndUnchanged(t *testing.T) {
	dir := sharedDir(t)
	s := start(t, Config{Dir: dir})
	stop(t, s)
	other := oldestMajor
	if s.bins.major == other {
		other = newestMajor
	}
	harness.Must(t, os.WriteFile(filepath.Join(s.pgdata(), "PG_VERSION"), fmt.Appendln(nil, other), 0o600))
	t.Cleanup(func() {
		harness.Must(t, os.WriteFile(filepath.Join(s.pgdata(), "PG_VERSION"), fmt.Appendln(nil, s.bins.major), 0o600))
	})
	before := fingerprint(t, s.pgdata())
	t.Setenv(binDirEnv, s.bins.dir)
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, fmt.Sprintf("PostgreSQL %d created", other), s.Version(), "nothing was changed")
	if fingerprint(t, s.pgdata()) != before {
		t.Error("the cluster was changed")
	}
}

func TestForeignContentIsRefusedAndUnchanged(t *testing.T) {
	dir := newDir(t)
	harness.Must(t, os.MkdirAll(filepath.Join(dir, dataName), 0o755))
	harness.Must(t, os.WriteFile(filepath.Join(dir, dataName, "thesis.tex"), []byte("years of work"), 0o600))
	before := fingerprint(t, filepath.Join(dir, dataName))
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, "are not a PostgreSQL cluster")
	if fingerprint(t, filepath.Join(dir, dataName)) != before {
		t.Error("the files were changed")
	}
}

// A clone below /root is in a directory that only root may enter. For other
// users none of their own directories is closed.
func TestClosedDirectory(t *testing.T) {
	closed := filepath.Join(filepath.Dir(newDir(t)), "closed")
	harness.Must(t, os.Mkdir(closed, 0o700))
	dir := filepath.Join(closed, "data", "postgres")
	s := start(t, Config{Dir: dir})
	expect(t, s.URL(), "CREATE TABLE kept AS SELECT 42 AS answer", "")
	stop(t, s)
	_, err := os.Readlink(dir)
	if root := os.Geteuid() == 0; (err == nil) != root || strings.HasPrefix(s.dir, relocated) != root {
		t.Fatalf("as root %v: the cluster is in %s", root, s.dir)
	}
	again := start(t, Config{Dir: dir})
	expect(t, again.SocketURL(), "SELECT answer FROM kept", "42")
	stop(t, again)
	if os.Geteuid() != 0 {
		return // nothing is linked
	}

	// The link's target is gone: no silent start with an empty cluster.
	harness.Must(t, os.Rename(s.dir, s.dir+".away"))
	_, err = tryStart(t, Config{Dir: dir})
	wantError(t, err, "which is gone", s.dir)
	// The data directory is gone: a new cluster.
	harness.Must(t, os.RemoveAll(filepath.Dir(dir)))
	fresh := start(t, Config{Dir: dir})
	if _, err := queryValue(t.Context(), fresh.URL(), "SELECT answer FROM kept"); err == nil {
		t.Error("the new cluster has the old one's table")
	}
}

// A cluster whose directory is closed later is neither replaced nor moved.
func TestDirectoryClosedLater(t *testing.T) {
	dir := sharedDir(t)
	s := start(t, Config{Dir: dir})
	stop(t, s)
	parent := filepath.Dir(dir)
	harness.Must(t, os.Chmod(parent, 0o700))
	t.Cleanup(func() { harness.Must(t, os.Chmod(parent, 0o711)) })
	if os.Geteuid() != 0 {
		return
	}
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, "cannot enter "+parent, "chmod o+x")
	harness.Must(t, os.Chmod(parent, 0o711))
	expect(t, start(t, Config{Dir: dir}).URL(), "SELECT 1", "1")
}
