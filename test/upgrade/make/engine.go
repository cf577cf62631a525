package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// engine is a build's engine in a process of its own, and a client of it.
type engine struct {
	program, data string
	cmd           *exec.Cmd
	nc            *nats.Conn
	js            jetstream.JetStream
}

// start runs an engine on a data directory and returns when it is ready. The
// engine's lifecycle is manual: it writes no event that no command caused.
func start(ctx context.Context, program, data string) (*engine, error) {
	e := &engine{program: program, data: data}
	e.cmd = exec.Command(program, "serve", "--data", data, "--nats-listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--lifecycle", "manual")
	e.cmd.Stderr = os.Stderr
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	err := within(ctx, "the engine is ready", func() error {
		var note struct {
			NATS string `json:"nats"`
			HTTP string `json:"http"`
		}
		text, err := os.ReadFile(filepath.Join(data, "engine.json"))
		if err == nil {
			err = json.Unmarshal(text, &note)
		}
		if err != nil {
			return err
		}
		resp, err := http.Get(note.HTTP + "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		e.nc, err = nats.Connect(note.NATS)
		return err
	})
	if err == nil {
		e.js, err = jetstream.New(e.nc)
	}
	if err != nil {
		e.kill()
		return nil, err
	}
	return e, nil
}

func (e *engine) stop() error {
	e.nc.Close()
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return e.cmd.Wait()
}

// kill ends an engine that stop did not end.
func (e *engine) kill() {
	if e.cmd.ProcessState == nil {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
	}
}

// run runs a subcommand against the engine.
func (e *engine) run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, e.program, append(args, "--data", e.data)...)
	var o, n bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &n
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("engine %v: %w\n%s%s", args, err, &o, &n)
	}
	return o.String(), n.String(), err
}

// ask sends a request; status is that of an error reply, 0 for any other.
func (e *engine) ask(ctx context.Context, subject, id, body string) (reply string, status int, err error) {
	msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	if id != "" {
		msg.Header.Set(nats.MsgIdHdr, id)
	}
	r, err := e.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", subject, err)
	}
	if code := r.Header.Get("Nats-Service-Error-Code"); code != "" {
		status, err = strconv.Atoi(code)
	}
	return string(r.Data), status, err
}

// within tries until f succeeds.
func within(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not within a minute: %w", what, err)
		}
	}
}
