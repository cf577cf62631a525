//go:build !linux

package harness

import "syscall"

func tied() *syscall.SysProcAttr { return nil }
