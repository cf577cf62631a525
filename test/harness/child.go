package harness

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
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

// serverConfig names the configuration file with which a test binary runs a NATS
// server instead of its tests.
const serverConfig = "TIDEMARK_TEST_NATS_SERVER"

// StartNATSServer runs a NATS server in a process of its own until the end of the test.
func StartNATSServer(t testing.TB, name, config string) *Child {
	t.Helper()
	self, err := os.Executable()
	Must(t, err)
	c := StartChild(t, name, command(self, []string{serverConfig + "=" + config}))
	t.Cleanup(c.Kill)
	return c
}

// serveNATS runs a NATS server until the process is killed.
func serveNATS(config string) error {
	opts, err := server.ProcessConfigFile(config)
	if err != nil {
		return err
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	return nil
}

// PID is the process id.
func (c *Child) PID() int { return c.proc.cmd.Process.Pid }

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
