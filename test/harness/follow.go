package harness

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// Running is a child process whose output the test reads as it is printed.
type Running struct {
	lines *bufio.Scanner
	out   *io.PipeReader
	errs  strings.Builder
	proc  *process
	t     testing.TB
}

// Follow starts a client subcommand against this engine. It is killed at the
// end of the test.
func (e *Engine) Follow(name string, args ...string) *Running {
	e.t.Helper()
	r := &Running{t: e.t}
	out, in := io.Pipe()
	cmd := command(Binary(e.t), nil, append([]string{name, "--data", e.Data}, args...)...)
	cmd.Stdout, cmd.Stderr = in, &r.errs
	r.out, r.lines = out, bufio.NewScanner(out)
	var err error
	r.proc, err = launch(cmd)
	Mustf(e.t, err, "run engine %s %v", name, args)
	go func() {
		<-r.proc.done
		in.Close()
	}()
	e.t.Cleanup(r.Kill)
	return r
}

// Line returns the next line of output; ok is false at its end.
func (r *Running) Line() (line string, ok bool) {
	if r.lines.Scan() {
		return r.lines.Text(), true
	}
	return "", false
}

// Until reads JSON lines until one has this member, which must come.
func (r *Running) Until(name, value string) {
	r.t.Helper()
	for line, ok := r.Line(); ok; line, ok = r.Line() {
		var said map[string]any
		if json.Unmarshal([]byte(line), &said) == nil && said[name] == value {
			return
		}
	}
	<-r.proc.done
	r.t.Fatalf("the program ended without %s %q: %s", name, value, r.errs.String())
}

// Kill is kill -9.
func (r *Running) Kill() {
	select {
	case <-r.proc.done:
	default:
		_ = r.proc.cmd.Process.Kill() // it may have ended just now
	}
	r.out.Close() // what it printed may be waiting to be read
	<-r.proc.done
	noSecret(r.t, "the errors of a program", r.errs.String())
}

// Wait reads the rest, and returns the exit code and the last line.
func (r *Running) Wait() (code int, last string) {
	r.t.Helper()
	for line, ok := r.Line(); ok; line, ok = r.Line() {
		last = line
	}
	<-r.proc.done
	var exit *exec.ExitError
	if r.proc.err != nil && !errors.As(r.proc.err, &exit) {
		r.t.Errorf("run the program: %v", r.proc.err)
	}
	if code = r.proc.cmd.ProcessState.ExitCode(); code != 0 {
		last += r.errs.String()
	}
	return code, last
}
