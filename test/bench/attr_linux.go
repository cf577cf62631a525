package main

import "syscall"

// tied ends the child when this process ends without having done so.
func tied() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
