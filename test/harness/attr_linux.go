package harness

import "syscall"

// tied ends the child when the test process ends without having done so.
func tied() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
