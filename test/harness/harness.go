// Package harness runs the engine's real binary as a child process, the way a
// user does, and looks at it from outside alone: over NATS, SQL, HTTP, its
// command line and the process table. Tests of the whole program share it.
package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Config of an engine under test.
type Config struct {
	Args []string // more flags of serve
	Env  []string // more environment; the test's own TIDEMARK_, NATS_ and PG variables never reach the engine
	Data string   // data directory; default: a new one
	SQL  string   // URL of an external database; status shows it without its password
}

// Engine is an engine in a process of its own. It keeps its data directory and
// its ports over every Kill, Stop and Restart, so that clients reconnect.
type Engine struct {
	Data    string // its data directory
	NATSURL string // where it listens; the same for life
	HTTPURL string // likewise

	t    testing.TB
	cfg  Config
	log  *os.File
	proc *process
}

// Start runs an engine and returns when it is ready. At the test's end it is
// stopped, which must be clean, and nothing of it may be left running.
func Start(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e := New(t, cfg)
	e.Restart()
	return e
}

// New prepares an engine that Restart will start.
func New(t testing.TB, cfg Config) *Engine {
	t.Helper()
	Binary(t)
	e := &Engine{t: t, cfg: cfg, Data: cfg.Data,
		NATSURL: "nats://" + FreeAddress(t), HTTPURL: "http://" + FreeAddress(t)}
	if e.Data == "" {
		e.Data = filepath.Join(Room(t), "data")
	}
	var err error
	if e.log, err = os.Create(filepath.Join(Room(t), "engine.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.finish)
	return e
}

// finish stops what runs, asks that nothing is left, and shows the log of a
// test that failed.
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
	if e.t.Failed() {
		e.t.Logf("the engine's log:\n%s", tail(log, 150))
	}
	e.log.Close()
}

// Log is all that the engine has printed so far.
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

// Ready is what /readyz answers: its code, and the body.
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
	resp, err := http.DefaultClient.Do(req)
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

// Room is a new directory that other users may pass through: run by root,
// postgres is somebody else.
func Room(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tm-") // short: a socket's path is short
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

// FreeAddress is a loopback address nobody listens on. Its port lies below
// those that outgoing connections take, or a client that tries to reconnect
// could be given the very port that a stopped engine will want again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		if l, err := net.Listen("tcp4", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return ""
}

// Within asks again and again until f is content; after d the test ends with
// its last complaint.
func Within(t testing.TB, d time.Duration, what string, f func() error) {
	t.Helper()
	if err := within(d, f); err != nil {
		t.Fatalf("not within %s: %s: %v", d, what, err)
	}
}

func within(d time.Duration, f func() error) error {
	limit := time.NewTimer(d)
	defer limit.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-limit.C:
			return err
		case <-again.C:
		}
	}
}

// note is what a serving engine leaves in its data directory.
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

func must(t testing.TB, err error, doing string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(doing, args...), err)
	}
}

// Metrics is the page /metrics.
func (e *Engine) Metrics(ctx context.Context) string {
	e.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.HTTPURL+"/metrics", nil)
	must(e.t, err, "ask for the metrics")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	must(e.t, err, "ask for the metrics")
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(e.t, err, "read the metrics")
	return string(text)
}
