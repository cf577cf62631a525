//go:build !linux

package local

// This file hides that other systems cannot end a child with its parent: there
// the next start ends what a killed engine left behind.

import "syscall"

func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
