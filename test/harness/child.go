package harness

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Child is a server that a test runs as a process of its own. It ends with the
// test process at the latest.
type Child struct {
	t    testing.TB
	name string
	proc *process
}

// StartChild starts a process.
func StartChild(t testing.TB, name string, cmd *exec.Cmd) *Child {
	t.Helper()
	p, err := launch(cmd)
	Mustf(t, err, "start %s", name)
	return &Child{t: t, name: name, proc: p}
}

// StartSelf runs this test binary again with further environment, which its
// TestMain must understand.
func StartSelf(t testing.TB, name string, env ...string) *Child {
	t.Helper()
	self, err := os.Executable()
	Must(t, err)
	return StartChild(t, name, command(self, env))
}

// Signal sends a signal to the process.
func (c *Child) Signal(s syscall.Signal) {
	c.t.Helper()
	Mustf(c.t, c.proc.cmd.Process.Signal(s), "signal %s", c.name)
}

// Kill is kill -9 of a process that may be frozen or ended.
func (c *Child) Kill() {
	_ = c.proc.cmd.Process.Kill() // it may have ended just now
	<-c.proc.done
}
