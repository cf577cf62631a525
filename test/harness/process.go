package harness

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Process is one line of the process table.
type Process struct {
	PID     int
	Command string
}

// process is a running child. err is set before done is closed.
type process struct {
	cmd   *exec.Cmd
	began time.Time
	done  chan struct{}
	err   error
}

// launch starts cmd. Linux ends the child with the thread that forked it, so a
// goroutine keeps that thread as long as the child lives.
func launch(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = tied()
	p := &process{cmd: cmd, began: time.Now(), done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}

// Bounds for an engine on a busy machine.
const (
	readyWithin = 60 * time.Second
	runWithin   = 3 * time.Minute  // one call of the command line
	stopWithin  = 25 * time.Second // the engine gives itself 6, and its servers 10
	goneWithin  = 20 * time.Second
)

// Restart starts the stopped engine on its data directory and ports, and
// returns when it is ready.
func (e *Engine) Restart() {
	e.t.Helper()
	e.Launch()
	e.Await()
}

// Refuses launches the engine, which must refuse to start, and returns the log of
// this run.
func (e *Engine) Refuses(args ...string) string {
	e.t.Helper()
	before := len(e.Log())
	e.Launch(args...)
	p := e.proc
	if !endsWithin(p, readyWithin) {
		e.t.Fatal("the engine starts, it should refuse")
	}
	e.proc = nil
	if p.err == nil {
		e.t.Error("the engine refused to start and ended with 0")
	}
	return e.Log()[before:]
}

// Launch is Restart without the wait; args are further flags of this run.
func (e *Engine) Launch(args ...string) {
	e.t.Helper()
	if e.proc != nil {
		e.t.Fatal("the engine runs already")
	}
	args = append([]string{"serve", "--data", e.Data,
		"--nats-listen", address(e.NATSURL), "--http", address(e.HTTPURL)}, append(slices.Clone(e.cfg.Args), args...)...)
	if e.cfg.SQL != "" {
		args = append(args, "--postgres", e.cfg.SQL)
	}
	cmd := command(e.cfg.Program, e.cfg.Env, args...)
	cmd.Stdout, cmd.Stderr = e.log, e.log
	var err error
	if e.proc, err = launch(cmd); err != nil {
		e.proc = nil
		e.t.Fatalf("start the engine: %v", err)
	}
}

// address is HOST:PORT of a URL.
func address(url string) string {
	_, address, _ := strings.Cut(url, "://")
	return address
}

// Await waits until a launched engine is ready.
func (e *Engine) Await() {
	e.t.Helper()
	p := e.proc
	Mustf(e.t, within(readyWithin, func() error {
		select {
		case <-p.done:
			e.proc = nil
			e.t.Fatalf("the engine ended while it started (%s); its log ends:\n%s", p.cmd.ProcessState, tail(e.Log(), 15))
		default:
		}
		n, err := readNote(e.Data)
		if err != nil {
			return err
		}
		if n.PID != p.cmd.Process.Pid {
			return fmt.Errorf("the note is of process %d", n.PID)
		}
		e.NATSURL, e.HTTPURL = n.NATS, n.HTTP // they differ only where port 0 was asked for
		if code, body := e.Ready(); code != 200 {
			return fmt.Errorf("/readyz says %d %s", code, body)
		}
		return nil
	}), "the engine is not ready")
	e.t.Logf("the engine was ready after %s (process %d)", time.Since(p.began).Round(time.Millisecond), p.cmd.Process.Pid)
}

// PID returns the process id of the engine, 0 when it does not run.
func (e *Engine) PID() int {
	if e.proc == nil {
		return 0
	}
	return e.proc.cmd.Process.Pid
}

// Killed is Kill for an engine that may have got SIGKILL before, as from CrashDisk.Cut.
func (e *Engine) Killed() {
	e.t.Helper()
	p := e.proc
	e.proc = nil
	_ = p.cmd.Process.Kill()
	<-p.done
	if s, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGKILL {
		e.t.Fatalf("the engine was not killed, it ended with %v; its log ends:\n%s", p.err, tail(e.Log(), 15))
	}
}

// Kill sends SIGKILL to the engine alone; its postgres must end by itself.
func (e *Engine) Kill() {
	e.t.Helper()
	p := e.proc
	e.proc = nil
	e.signal(p, syscall.SIGKILL)
	<-p.done
}

func (e *Engine) signal(p *process, sig syscall.Signal) {
	e.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		<-p.done
		e.t.Fatalf("%s: the engine has ended by itself with %v; its log ends:\n%s", sig, p.err, tail(e.Log(), 15))
	}
}

// Stop sends SIGTERM; the engine must end with code 0 in time.
func (e *Engine) Stop() {
	e.t.Helper()
	p := e.proc
	e.proc = nil
	e.signal(p, syscall.SIGTERM)
	limit := time.NewTimer(stopWithin)
	defer limit.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			e.t.Errorf("the engine was stopped and ended with %v; its log ends:\n%s", p.err, tail(e.Log(), 15))
		}
	case <-limit.C:
		e.t.Errorf("the engine did not stop within %s; its log ends:\n%s", stopWithin, tail(e.Log(), 15))
		before := len(e.Log())
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		if !endsWithin(p, 5*time.Second) {
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		e.t.Logf("where it hangs:\n%s", ownStacks(e.Log()[before:]))
	}
}

// ownStacks are the goroutines of a dump that are in a package of this module.
func ownStacks(dump string) string {
	var own []string
	for _, goroutine := range strings.Split(dump, "\n\n") {
		if strings.Contains(goroutine, "tidemark-engine/tidemark/") {
			own = append(own, goroutine)
		}
	}
	return strings.Join(own, "\n\n")
}

// Interrupt sends SIGTERM to an engine that may not be ready yet; any exit code
// is right.
func (e *Engine) Interrupt() {
	e.t.Helper()
	p := e.proc
	e.proc = nil
	Mustf(e.t, p.cmd.Process.Signal(syscall.SIGTERM), "interrupt the engine")
	if !endsWithin(p, stopWithin) {
		e.t.Errorf("the engine did not stop within %s of its start", stopWithin)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func endsWithin(p *process, d time.Duration) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-p.done:
		return true
	case <-limit.C:
		return false
	}
}

// Gone waits until no process works in the data directory, which must happen
// without help after the end of the engine.
func (e *Engine) Gone() {
	e.t.Helper()
	if err := within(goneWithin, func() error {
		if left := Processes(e.Data); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	}); err != nil {
		e.t.Errorf("left running: %v", err)
	}
}

// SetEnv replaces the further environment of the next start.
func (e *Engine) SetEnv(env ...string) { e.cfg.Env = env }
