package local

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a program that this process has started.
type child struct {
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{} // closed when the program has ended
}

// startChild starts cmd such that it receives deathSignal when this process
// dies. Linux sends the signal when the thread that forked the child ends
// (prctl(2), PR_SET_PDEATHSIG), so a goroutine keeps its thread while the child
// lives.
func startChild(cmd *exec.Cmd, deathSignal syscall.Signal) (*child, error) {
	signalOnParentDeath(cmd.SysProcAttr, deathSignal)
	c := &child{cmd: cmd, started: time.Now(), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the caller reads cmd.ProcessState
			close(c.done)
		}
	}()
	return c, <-started
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// process is a process of any parent.
type process struct {
	pid     int
	command string // arguments separated by NUL; for a child of a postmaster its title
}

func (p process) String() string { return strconv.Itoa(p.pid) }

func (p process) isPostgres() bool {
	program, _, _ := strings.Cut(p.command, "\x00")
	return filepath.Base(program) == "postgres" || strings.HasPrefix(program, "postgres:")
}
