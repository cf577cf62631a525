package harness

import "syscall"

// tied ends the child when the test process has ended.
func tied() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
