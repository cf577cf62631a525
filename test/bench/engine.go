package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
)

// engine is an engine running in its own process.
type engine struct {
	mode  string // durability: synced or relaxed
	data  string
	room  string // parent directory of data; removed at the end
	url   string
	http  string        // base URL
	ready time.Duration // from the start of the process to /readyz
	cmd   *exec.Cmd
	ended chan struct{}
	nc    *nats.Conn // for status queries
	creds string     // credentials file of the clients; empty = none
}

// build builds the engine's binary once, from the current module.
func (b *bench) build(ctx context.Context) error {
	if b.binary != "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "tm-bench-bin-")
	if err != nil {
		return err
	}
	b.cleanup = append(b.cleanup, func() { _ = os.RemoveAll(dir) })
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "engine"),
		"github.com/tidemark-engine/tidemark/cmd/engine")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the engine: %w\n%s", err, out)
	}
	b.binary = filepath.Join(dir, "engine")
	return nil
}

// engine returns an engine with a durability mode: the running one if it has that
// mode, otherwise a new one with empty data.
func (b *bench) engine(ctx context.Context, mode string) (*engine, error) {
	if b.up != nil && b.up.mode == mode {
		return b.up, b.up.caughtUp(ctx)
	}
	b.stop()
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	b.up, err = b.start(ctx, mode, filepath.Join(dir, "data"), "--durability", mode)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	b.up.room = dir
	return b.up, nil
}

// tempDir creates a temporary directory that other users may traverse, because
// PostgreSQL runs as another user when this program runs as root.
func tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "tm-bench-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// stop stops the running engine, if any.
func (b *bench) stop() {
	if b.up == nil {
		return
	}
	b.up.stop()
	if b.up.room != "" {
		_ = os.RemoveAll(b.up.room)
	}
	b.up = nil
}

// start starts the engine on a data directory and returns when it is ready.
func (b *bench) start(ctx context.Context, mode, data string, flags ...string) (*engine, error) {
	return b.startAs(ctx, variant{flags: flags}, mode, data)
}

// startAs starts a variant of the engine.
func (b *bench) startAs(ctx context.Context, v variant, mode, data string) (*engine, error) {
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(filepath.Dir(data), "engine.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	e := &engine{mode: mode, data: data, ended: make(chan struct{})}
	on := []string{"--nats-listen", "127.0.0.1:0"}
	if v.nats != "" {
		on = []string{"--nats", v.nats}
	}
	e.cmd = exec.Command(b.binary, slices.Concat([]string{"serve", "--data", data, "--http", "127.0.0.1:0", "--log", "warn"}, on, v.flags)...)
	e.cmd.Stdout, e.cmd.Stderr, e.cmd.Env = log, log, append(cleanEnv(), v.env...)
	_ = os.Remove(filepath.Join(data, "engine.json"))
	began := time.Now()
	if err := launch(e.cmd, e.ended); err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	if err := e.await(ctx); err != nil {
		e.stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w; its log:\n%s", err, text)
	}
	e.ready = time.Since(began)
	if v.principal != "" {
		e.creds = filepath.Join(filepath.Dir(data), v.principal+".creds")
		if err := b.runEngine(ctx, func(out *os.File) error { _, err := count(out); return err },
			"auth", "add", v.principal, "--role", "agent", "--agents", "*", "--data", data, "--out", e.creds); err != nil {
			e.stop()
			return nil, err
		}
	}
	return e, nil
}

// cleanEnv returns the environment without variables that configure the engine.
func cleanEnv() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TIDEMARK_") && !strings.HasPrefix(v, "NATS_") && !strings.HasPrefix(v, "PG") {
			env = append(env, v)
		}
	}
	return env
}

// launch starts cmd so that it dies with this process, and closes ended when it
// exits. On Linux Pdeathsig follows the thread that forked the child, so a
// goroutine keeps that thread (prctl(2), PR_SET_PDEATHSIG).
func launch(cmd *exec.Cmd, ended chan<- struct{}) error {
	cmd.SysProcAttr = killWithParent()
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // cmd.ProcessState has the result
			close(ended)
		}
	}()
	return <-started
}

// await waits until /readyz returns 200.
func (e *engine) await(ctx context.Context) error {
	return e.until(ctx, 2*time.Minute, "readiness", func() error {
		text, err := os.ReadFile(filepath.Join(e.data, "engine.json"))
		if err != nil {
			return err
		}
		var note struct{ NATS, HTTP string }
		if err := json.Unmarshal(text, &note); err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, note.HTTP+"/readyz", nil)
		if err != nil {
			return err
		}
		req.Close = true // leave no idle connection
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		e.url, e.http = note.NATS, note.HTTP
		return nil
	})
}

// until calls f every 10 ms until it returns nil, the engine ends or limit passes.
func (e *engine) until(ctx context.Context, limit time.Duration, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-e.ended:
			return fmt.Errorf("wait for %s: the engine ended (%s)", what, e.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: timed out: %w", what, err)
		case <-again.C:
		}
	}
}

// stop sends SIGTERM, and SIGKILL after 40 s.
func (e *engine) stop() {
	if e.nc != nil {
		e.nc.Close()
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.ended:
	case <-time.After(40 * time.Second):
		_ = e.cmd.Process.Kill()
		<-e.ended
	}
}

// connect opens a client connection.
func (e *engine) connect() (*nats.Conn, error) { return e.connectAs(e.creds) }

func (e *engine) connectAs(creds string) (*nats.Conn, error) {
	opts := []nats.Option{nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	return nats.Connect(e.url, opts...)
}

// status has the members of queries.engine.status that the benchmarks use.
type status struct {
	Postgres struct{ URL string }
	Views    []struct {
		Name      string
		State     string
		LagEvents uint64 `json:"lag_events"`
	}
}

func (e *engine) status(ctx context.Context) (s status, err error) {
	if e.nc == nil {
		operator := ""
		if e.creds != "" { // a status is for operators
			operator = filepath.Join(embedded.KeysDir(e.data), "operator.creds")
		}
		if e.nc, err = e.connectAs(operator); err != nil {
			return s, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	reply, err := e.nc.RequestWithContext(ctx, "queries.engine.status", nil)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(reply.Data, &s)
}

// lag returns the view with the largest lag and its lag in events.
func (e *engine) lag(ctx context.Context) (view string, events uint64, err error) {
	s, err := e.status(ctx)
	for _, v := range s.Views {
		if v.LagEvents > events {
			view, events = v.Name, v.LagEvents
		}
	}
	return view, events, err
}

// caughtUp waits until every view has caught up, so that the next measurement does
// not include work of the previous one.
func (e *engine) caughtUp(ctx context.Context) error {
	return e.until(ctx, 10*time.Minute, "the views to catch up", func() error {
		view, events, err := e.lag(ctx)
		if err == nil && events > 0 {
			err = fmt.Errorf("%s is %d events behind", view, events)
		}
		return err
	})
}
