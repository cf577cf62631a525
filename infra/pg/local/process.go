package local

import (
	"bytes"
	"context"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a started child. err is set before done is closed.
type process struct {
	cmd   *exec.Cmd
	began time.Time
	done  chan struct{}
	err   error
}

// launch starts cmd such that it receives deathSignal should this process end
// without ending it first. Linux sends that signal when the *thread* that
// forked the child ends (prctl(2), PR_SET_PDEATHSIG), so the goroutine keeps
// its thread for as long as the child lives.
func launch(cmd *exec.Cmd, deathSignal syscall.Signal) (*process, error) {
	dieWithParent(cmd.SysProcAttr, deathSignal)
	// Backends inherit the log pipe and may outlive a killed postmaster; do not
	// wait for them to close it.
	cmd.WaitDelay = 500 * time.Millisecond
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
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// endsWithin waits for the process to be gone.
func (p *process) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// run carries a short program out and returns all it printed. When the context
// ends, so do the program and its children.
func run(ctx context.Context, cmd *exec.Cmd) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := launch(cmd, syscall.SIGKILL)
	if err != nil {
		return "", err
	}
	select {
	case <-p.done:
		return out.String(), p.err
	case <-ctx.Done():
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group, see account.command
		<-p.done
		return out.String(), ctx.Err()
	}
}

// poll asks until the answer is yes, or the context ends.
func poll(ctx context.Context, every time.Duration, yes func() bool) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for !yes() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}
