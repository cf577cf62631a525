package local

// This file hides what only Linux can do: end a child with its parent.

import "syscall"

func dieWithParent(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }
