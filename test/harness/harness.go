// Package harness holds what tests share. It imports no package of the engine,
// so that tests inside any package can use it.
//
// Main, Must, Eventually, Receive and Exec are the helpers of all tests. Engine
// runs the engine's binary as a child process, and Client uses it from outside:
// over NATS, SQL, HTTP and the command line. History, CheckJournal and
// Differences judge what clients saw, the journal, and the views, from the wire
// contract alone.
package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Config of an engine under test.
type Config struct {
	Args []string // further flags of serve
	Env  []string // further environment; the test's own TIDEMARK_, NATS_ and PG variables never reach the engine
	Data string   // data directory; default: a new one
	SQL  string   // URL of an external database; status shows it without its password

	Program string // the engine's binary; default: Binary
}

// Engine is an engine in a child process. It keeps its data directory and its
// ports over every Kill, Stop and Restart, so that clients reconnect.
type Engine struct {
	Data    string // its data directory
	NATSURL string // where it listens; the same for life
	HTTPURL string // likewise

	t    testing.TB
	cfg  Config
	log  *os.File
	proc *process

	pages string // see pageDir
}

// Start runs an engine and returns when it is ready. At the end of the test it
// is stopped, which must succeed, and may leave no process.
func Start(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e := New(t, cfg)
	e.Restart()
	return e
}

// New prepares an engine that Restart will start.
func New(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if cfg.Program == "" {
		cfg.Program = Binary(t)
	}
	ports := FreePorts(t, 2) // at once, so that they differ
	e := &Engine{t: t, cfg: cfg, Data: cfg.Data,
		NATSURL: fmt.Sprint("nats://127.0.0.1:", ports[0]), HTTPURL: fmt.Sprint("http://127.0.0.1:", ports[1])}
	if e.Data == "" {
		e.Data = filepath.Join(TempDir(t), "data")
		if cfg.SQL == "" && !slices.Contains(cfg.Args, "--postgres") {
			PostgresDir(t, filepath.Join(e.Data, "postgres"))
		}
	}
	var err error
	if e.log, err = os.Create(filepath.Join(TempDir(t), "engine.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.finish)
	return e
}

// finish stops the engine, checks that no process is left, and shows the log of
// a failed test.
func (e *Engine) finish() {
	if e.proc != nil {
		e.Stop()
	}
	e.Gone()
	log := e.Log()
	for _, bad := range []string{"WARNING: DATA RACE", "\npanic: ", "\nfatal error: "} {
		if strings.Contains(log, bad) {
			e.t.Errorf("the engine's log has %q", strings.TrimSpace(bad))
		}
	}
	e.checkSecrets(log)
	if e.t.Failed() {
		e.t.Logf("the engine's log:\n%s", tail(log, 150))
	}
	e.log.Close()
}

// Log returns the output of the engine so far.
func (e *Engine) Log() string {
	text, err := os.ReadFile(e.log.Name())
	if err != nil {
		e.t.Errorf("read the log: %v", err)
	}
	return string(text)
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// Ready returns the status and body of /readyz.
func (e *Engine) Ready() (int, string) {
	return e.get("/readyz")
}

func (e *Engine) get(path string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.HTTPURL+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Close = true // no connection outlives its answer
	resp, err := anyCertificate.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	var body json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, string(body)
}

// TempDir is a new directory that other users may enter: when root runs the
// tests, postgres runs as another user.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tm-") // short, for the path of a socket is bounded
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

// note is the file engine.json, which a running engine writes into its data
// directory.
type note struct {
	PID  int    `json:"pid"`
	NATS string `json:"nats"`
	HTTP string `json:"http"`
}

func readNote(data string) (n note, err error) {
	text, err := os.ReadFile(filepath.Join(data, "engine.json"))
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	return n, err
}

// Metrics returns the page /metrics.
func (e *Engine) Metrics(ctx context.Context) string {
	e.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.HTTPURL+"/metrics", nil)
	Mustf(e.t, err, "ask for the metrics")
	req.Close = true
	resp, err := anyCertificate.Do(req)
	Mustf(e.t, err, "ask for the metrics")
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	Mustf(e.t, err, "read the metrics")
	return string(text)
}
