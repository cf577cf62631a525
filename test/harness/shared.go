package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
)

// sharedPrefix begins the names of the directories that hold what the test
// processes of one `go test` share.
const sharedPrefix = "tidemark-run-"

// once makes something at most once in this process.
type once struct {
	sync.Once
	dir string
	err error
}

// shared is the directory name, which fill has filled: once for all test
// processes of one `go test`, or once for this process where the run is unknown.
func (o *once) shared(name string, fill func(dir string) error) (string, error) {
	o.Do(func() { o.dir, o.err = share(name, fill) })
	return o.dir, o.err
}

func share(name string, fill func(dir string) error) (string, error) {
	base, err := runDir()
	if err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(base, name+".lock"))
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer lock.Close()
	dir := filepath.Join(base, name)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	unfinished := dir + ".unfinished"
	if err := errors.Join(os.RemoveAll(unfinished), os.Mkdir(unfinished, 0o711), os.Chmod(unfinished, 0o711)); err != nil {
		return "", err
	}
	if err := fill(unfinished); err != nil {
		return "", err
	}
	return dir, os.Rename(unfinished, dir)
}

// runDir is a directory for the run of `go test` that this process belongs to. It
// removes those of runs that have ended.
func runDir() (string, error) {
	run, alive := testRun()
	if run == "" {
		dir, err := os.MkdirTemp("", sharedPrefix)
		if err != nil {
			return "", err
		}
		AtExit(func() error { return os.RemoveAll(dir) })
		return dir, os.Chmod(dir, 0o711)
	}
	others, _ := filepath.Glob(filepath.Join(os.TempDir(), sharedPrefix+"*"))
	for _, other := range others {
		if !alive(filepath.Base(other)[len(sharedPrefix):]) {
			_ = os.RemoveAll(other)
		}
	}
	dir := filepath.Join(os.TempDir(), sharedPrefix+run)
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make a directory for the test run: %w", err)
	}
	return dir, os.Chmod(dir, 0o711)
}
