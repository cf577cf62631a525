package harness

// This file hides where the engine's binary comes from.

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// Clean removes the binary. For TestMain.
func Clean() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

func build() (err error) {
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	if err := watch(root); err != nil {
		return err
	}
	if built.dir, err = os.MkdirTemp("", "tidemark-bin-"); err != nil {
		return err
	}
	args := []string{"build", "-buildvcs=false", "-o", filepath.Join(built.dir, "engine")}
	if raceOn {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/engine")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the engine: %w\n%s", err, out)
	}
	return nil
}

// watch looks at every source file. go build does so too, but in a process of
// its own, which the cache of test results does not see: without this, results
// of an older engine would be shown for a newer one.
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
