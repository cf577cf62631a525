package local

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

func signalOnParentDeath(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }

// processes returns the running processes of a user. A zombie has no command.
func processes(uid uint32) []process {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var found []process
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != uid {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if command, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil {
			found = append(found, process{pid: pid, command: string(command)})
		}
	}
	return found
}
