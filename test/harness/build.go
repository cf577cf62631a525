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

// racePackages are the packages below test whose engine looks for data races when the
// tests do; together they use every component. Such an engine needs a multiple of the
// processor's time: in all packages, two cores would be too slow for what tests of faults
// ask of time.
var racePackages = []string{"feeds", "intake", "queries"}

// raceAlways, set to 1, builds every engine with -race when the tests run so.
const raceAlways = "TIDEMARK_TEST_RACE_ENGINE"

// RaceEngine reports whether the engine of the package under test is built with -race.
func RaceEngine(t testing.TB) bool {
	t.Helper()
	wd, err := os.Getwd()
	Must(t, err)
	return RaceOn && (os.Getenv(raceAlways) == "1" || slices.Contains(racePackages, filepath.Base(wd)))
}

// Binary is the engine, built once for a test run; see RaceEngine.
func Binary(t testing.TB) string {
	t.Helper()
	watched.Do(func() {
		root, err := moduleRoot()
		Must(t, err)
		Must(t, watch(root))
	})
	name, args := "engine", []string{"build", "-buildvcs=false"}
	if RaceEngine(t) {
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
