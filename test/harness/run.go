package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// Result is the exit code and the output of the program.
type Result struct {
	Code   int
	Stdout string
	Stderr string
}

// Run runs the program to its end.
func Run(t testing.TB, args ...string) Result { return RunWith(t, nil, args...) }

// RunWith is Run with further environment.
func RunWith(t testing.TB, env []string, args ...string) Result {
	t.Helper()
	return RunWithin(t, runWithin, env, args...)
}

// RunWithin is RunWith with another bound.
func RunWithin(t testing.TB, d time.Duration, env []string, args ...string) Result {
	t.Helper()
	return runProgram(t, Binary(t), d, env, args...)
}

func runProgram(t testing.TB, program string, d time.Duration, env []string, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := command(program, env, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	p, err := launch(cmd)
	Mustf(t, err, "run engine %v", args)
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-p.done
		t.Fatalf("engine %v did not end within %s: %s%s", args, d, &stdout, &stderr)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		t.Fatalf("run engine %v: %v", args, p.err)
	}
	noSecret(t, fmt.Sprintf("the output of engine %v", args), stdout.String()+stderr.String())
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// Run runs a client subcommand against this engine.
func (e *Engine) Run(name string, args ...string) Result {
	e.t.Helper()
	return e.RunWith(nil, name, args...)
}

// RunWith is Run with further environment.
func (e *Engine) RunWith(env []string, name string, args ...string) Result {
	e.t.Helper()
	r := runProgram(e.t, e.cfg.Program, readyWithin, env, append([]string{name, "--data", e.Data}, args...)...)
	noSecret(e.t, "the output of engine "+name, r.Stdout+r.Stderr, e.secrets()...)
	return r
}

// command runs the program without the variables of the test's own environment
// about engines, servers and databases.
func command(program string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "TIDEMARK_") && name != "TIDEMARK_PG_BIN" ||
			strings.HasPrefix(name, "NATS_") || strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "OTEL_")
	}), "GORACE=atexit_sleep_ms=20") // by default a program built with -race sleeps a second before it ends
	cmd.Env = append(cmd.Env, env...)
	return cmd
}
