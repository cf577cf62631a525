package main

import "syscall"

// killWithParent makes the kernel kill the child when this process dies.
func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
