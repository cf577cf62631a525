package harness

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// Binary is the engine, built once per test process, with -race when the tests
// themselves run so.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() { built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "engine")
}

func build() (err error) {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if err := watch(root); err != nil {
		return err
	}
	if built.dir, err = os.MkdirTemp("", "tidemark-bin-"); err != nil {
		return err
	}
	AtExit(func() error { return os.RemoveAll(built.dir) })
	args := []string{"build", "-buildvcs=false", "-o", filepath.Join(built.dir, "engine")}
	if RaceOn {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/engine")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the engine: %w\n%s", err, out)
	}
	return nil
}

// moduleRoot is the directory of go.mod, at or above the package under test. A
// path that the compiler noted would be none in a build with -trimpath.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	for dir := start; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			err = fmt.Errorf("no go.mod at or above %s", start)
		}
	}
	return "", err
}

// watch stats every source file, so that the cache of test results knows them:
// go build reads them in another process, and results of an older engine would
// count for a newer one.
func watch(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "data"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".sql") || strings.HasSuffix(path, "go.sum"):
			_, err = os.Stat(path)
		}
		return err
	})
}
