package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// instrumented is the engine with its failpoints and with the planted bugs, built once per test
// process from a copy of the module.
var instrumented struct {
	once    sync.Once
	program string
	names   []string // of the failpoints in the product's code
	errors  []string // of those that can return an error
	err     error
}

// failEngine returns the program of an engine with failpoints.
func failEngine(t testing.TB) string {
	t.Helper()
	instrumented.once.Do(func() { instrumented.err = instrument(t) })
	harness.Must(t, instrumented.err)
	return instrumented.program
}

// instrument copies the module, plants the bugs, lets gofail turn its comments into code, and
// builds. The copy has the same place for the same checkout, so that the build cache knows it.
func instrument(t testing.TB) (err error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(root))
	place := filepath.Join(os.TempDir(), "tidemark-failpoints-"+hex.EncodeToString(sum[:4]))
	lock := flock.New(place + ".lock")
	if err := lock.Lock(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(place), lock.Unlock()) }()
	dirs, err := copyModule(root, place)
	if err != nil {
		return err
	}
	to, err := os.MkdirTemp("", "tidemark-fail-")
	if err != nil {
		return err
	}
	harness.AtExit(func() error { return os.RemoveAll(to) })
	instrumented.program = filepath.Join(to, "engine")
	build := []string{"build", "-buildvcs=false", "-o", instrumented.program}
	if harness.RaceEngine(t) {
		build = append(build, "-race")
	}
	for _, args := range [][]string{append([]string{"tool", "gofail", "enable"}, dirs...), append(build, "./cmd/engine")} {
		cmd := exec.Command("go", args...)
		cmd.Dir = place
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

var (
	failpoint   = regexp.MustCompile(`(?m)^\s*// gofail: var (\w+) struct\{\}\n(\s*// (?:return|break|\w+ = ))?`)
	leaveBehind = []string{"test", "docs", "examples", "bin", "data", "scripts"}
)

// copyModule copies the program's source files and returns the directories that have failpoints.
func copyModule(from, to string) (dirs []string, err error) {
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains(leaveBehind, name)):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !d.Type().IsRegular() || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range failpoint.FindAllSubmatch(text, -1) {
			instrumented.names = append(instrumented.names, string(m[1]))
			if len(m[2]) > 0 {
				instrumented.errors = append(instrumented.errors, string(m[1]))
			}
		}
		if text, err = plant(name, text); err != nil {
			return err
		}
		if bytes.Contains(text, []byte("// gofail: ")) {
			if dir := filepath.Dir(name); !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o644)
	})
	return dirs, err
}

// failpoints switches those of a running engine, through the endpoint that gofail serves in it.
type failpoints struct {
	t    testing.TB
	addr string
}

var loopback = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// Config returns the configuration of an engine that these failpoints are of.
func newFailpoints(t testing.TB) *failpoints {
	return &failpoints{t, harness.FreeAddress(t)}
}

// env is the environment of the engine; terms are in force from its start.
func (f *failpoints) env(terms ...string) []string {
	return []string{"GOFAIL_HTTP=" + f.addr, "GOFAIL_FAILPOINTS=" + strings.Join(terms, ";")}
}

func (f *failpoints) request(method, path, body string) (string, error) {
	req, err := http.NewRequest(method, "http://"+f.addr+"/"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := loopback.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("failpoint %s %q: %s", path, body, text)
	}
	return string(text), err
}

// set puts terms of gofail in force, such as 1*sleep(100).
func (f *failpoints) set(name, terms string) {
	f.t.Helper()
	_, err := f.request(http.MethodPut, name, terms)
	harness.Must(f.t, err)
}

// off ends a failpoint's terms and returns how often they acted.
func (f *failpoints) off(name string) int {
	f.t.Helper()
	n := f.count(name)
	_, err := f.request(http.MethodDelete, name, "")
	harness.Must(f.t, err)
	return n
}

// count returns how often the terms in force have acted.
func (f *failpoints) count(name string) int {
	f.t.Helper()
	text, err := f.request(http.MethodGet, name+"/count", "")
	harness.Must(f.t, err)
	n, err := strconv.Atoi(text)
	harness.Must(f.t, err)
	return n
}

// owner returns the user of a database's URL.
func owner(t testing.TB, text string) string {
	u, err := url.Parse(text)
	harness.Must(t, err)
	return u.User.Username()
}

// inDatabase returns a URL of another database of the same server.
func inDatabase(t testing.TB, text, name string) string {
	u, err := url.Parse(text)
	harness.Must(t, err)
	u.Path = "/" + name
	return u.String()
}
