package harness

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var (
	built   once
	watched sync.Once
)

// raceEngine are the packages whose engine looks for data races when the tests do, or
// whose tests count on its pace. With the detector an engine needs a multiple of the
// processor's time: everywhere at once, two cores are too slow for what the other
// packages ask of time.
var raceEngine = []string{"e2e", "feeds", "intake", "queries", "rebuild"}

// raceAlways builds every engine with -race when the tests run so.
const raceAlways = "TIDEMARK_TEST_RACE_ENGINE"

// Binary is the engine, built once for a test run; with -race when the tests run so and
// the package is one of raceEngine.
func Binary(t testing.TB) string {
	t.Helper()
	watched.Do(func() {
		root, err := moduleRoot()
		Must(t, err)
		Must(t, watch(root))
	})
	name, args := "engine", []string{"build", "-buildvcs=false"}
	wd, err := os.Getwd()
	Must(t, err)
	if RaceOn && (os.Getenv(raceAlways) == "1" || slices.Contains(raceEngine, filepath.Base(wd))) {
		name, args = "engine-race", append(args, "-race")
	}
	dir, err := built.shared(name, func(dir string) error {
		cmd, err := goCommand(append(args, "-o", filepath.Join(dir, "engine"), "./cmd/engine")...)
		if err != nil {
			return err
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the engine: %w\n%s", err, out)
		}
		return nil
	})
	Must(t, err)
	return filepath.Join(dir, "engine")
}

// goCommand runs the go command in the root of the module.
func goCommand(args ...string) (*exec.Cmd, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	return cmd, nil
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
