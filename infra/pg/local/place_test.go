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

// fake makes a directory whose postgres claims to be of a version.
func fake(t *testing.T, base, version string) string {
	t.Helper()
	dir := filepath.Join(base, version)
	harness.Must(t, os.MkdirAll(dir, 0o755))
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + " (made up)'\n"
	for _, name := range []string{"postgres", "initdb"} {
		harness.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	return dir
}

func TestFindBinaries(t *testing.T) {
	base := filepath.Dir(room(t))
	v14, v15, v18, v19 := fake(t, base, "14.9"), fake(t, base, "15.3"), fake(t, base, "18beta1"), fake(t, base, "19.0")
	t.Setenv("PATH", strings.Join([]string{v14, v15, v19, v18, os.Getenv("PATH")}, ":"))
	t.Setenv(EnvBinDir, "")

	dir, major, err := FindBinaries("")
	if err != nil || dir != v18 || major != 18 {
		t.Errorf("highest supported: %s %d %v", dir, major, err)
	}
	s := &Server{home: base}
	s.as, err = unprivileged()
	harness.Must(t, err)
	if b, err := s.choose(15); err != nil || b.dir != v15 || b.version != "15.3" {
		t.Errorf("for a cluster of 15: %v %v", b, err)
	}
	if dir, _, err := FindBinaries(v15); err != nil || dir != v15 {
		t.Errorf("hint: %s %v", dir, err)
	}
	t.Setenv(EnvBinDir, v15)
	if dir, _, err := FindBinaries(""); err != nil || dir != v15 {
		t.Errorf("environment: %s %v", dir, err)
	}
	_, err = s.choose(16)
	wantError(t, err, "made by PostgreSQL 16", "only 15.3", "postgresql-16", "nothing was changed")
	_, _, err = FindBinaries(v19)
	wantError(t, err, "is version 19.0", "15 to 18", "make postgres")
	if os.Geteuid() == 0 {
		harness.Must(t, os.Chmod(v15, 0o700))
		_, _, err = FindBinaries(v15)
		wantError(t, err, "user "+s.as.name+" may not execute "+v15)
	}
	_, _, err = FindBinaries(filepath.Join(base, "nowhere"))
	wantError(t, err, "no postgres in", "make postgres", "apt-get install postgresql")
}

func TestUnpackedPackageIsFound(t *testing.T) {
	root := filepath.Dir(room(t))
	for _, place := range unpacked(root) {
		if strings.Contains(place, "@embedded-postgres") {
			harness.Must(t, os.MkdirAll(filepath.Join(root, "18.1.0", strings.TrimPrefix(place, root)), 0o755))
		}
	}
	for _, place := range unpacked(root) {
		if strings.HasPrefix(place, filepath.Join(root, "18.1.0")) {
			return
		}
	}
	t.Errorf("not among %v", unpacked(root))
}

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

func TestOtherMajorIsRefusedAndUntouched(t *testing.T) {
	dir := standing(t)
	s := start(t, Config{Dir: dir})
	stop(t, s)
	other := oldest
	if s.bins.major == other {
		other = newest
	}
	harness.Must(t, os.WriteFile(filepath.Join(s.data(), "PG_VERSION"), fmt.Appendln(nil, other), 0o600))
	t.Cleanup(func() {
		harness.Must(t, os.WriteFile(filepath.Join(s.data(), "PG_VERSION"), fmt.Appendln(nil, s.bins.major), 0o600))
	})
	before := fingerprint(t, s.data())
	_, err := tryStart(t, Config{Dir: dir, BinDir: s.bins.dir})
	wantError(t, err, fmt.Sprintf("made by PostgreSQL %d", other), s.Version(), "nothing was changed")
	if fingerprint(t, s.data()) != before {
		t.Error("the cluster was touched")
	}
}

func TestForeignContentIsRefusedAndUntouched(t *testing.T) {
	dir := room(t)
	harness.Must(t, os.MkdirAll(filepath.Join(dir, dataName), 0o755))
	harness.Must(t, os.WriteFile(filepath.Join(dir, dataName, "thesis.tex"), []byte("years of work"), 0o600))
	before := fingerprint(t, filepath.Join(dir, dataName))
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, "not a PostgreSQL cluster")
	if fingerprint(t, filepath.Join(dir, dataName)) != before {
		t.Error("it was touched")
	}
}

// A directory that root alone may enter is the normal case of a clone under
// /root. For everybody else no directory of their own is closed.
func TestClosedDirectory(t *testing.T) {
	closed := filepath.Join(filepath.Dir(room(t)), "closed")
	harness.Must(t, os.Mkdir(closed, 0o700))
	dir := filepath.Join(closed, "data", "postgres")
	s := start(t, Config{Dir: dir})
	expect(t, s.URL(), "CREATE TABLE kept AS SELECT 42 AS answer", "")
	stop(t, s)
	if root := os.Geteuid() == 0; isLink(dir) != root || strings.HasPrefix(s.home, clusters) != root {
		t.Fatalf("as root %v: the cluster is in %s", root, s.home)
	}
	again := start(t, Config{Dir: dir})
	expect(t, again.SocketURL(), "SELECT answer FROM kept", "42")
	stop(t, again)
	if os.Geteuid() != 0 {
		return // nothing is linked
	}

	// The link's target is gone: not silently begun anew.
	harness.Must(t, os.Rename(s.home, s.home+".away"))
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, "which is gone", s.home)
	// The data directory is removed: a new cluster.
	harness.Must(t, os.RemoveAll(filepath.Dir(dir)))
	fresh := start(t, Config{Dir: dir})
	if _, err := ask(t.Context(), fresh.URL(), "SELECT answer FROM kept"); err == nil {
		t.Error("the new cluster has the old one's table")
	}
}

// A cluster that was reachable when it was made is neither shadowed by a new
// one nor moved.
func TestDirectoryClosedLater(t *testing.T) {
	dir := standing(t)
	s := start(t, Config{Dir: dir})
	stop(t, s)
	parent := filepath.Dir(dir)
	harness.Must(t, os.Chmod(parent, 0o700))
	t.Cleanup(func() { harness.Must(t, os.Chmod(parent, 0o711)) })
	if os.Geteuid() != 0 {
		return
	}
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, "cannot get into "+parent, "chmod o+x")
	harness.Must(t, os.Chmod(parent, 0o711))
	expect(t, start(t, Config{Dir: dir}).URL(), "SELECT 1", "1")
}
