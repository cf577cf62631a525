//go:build !linux

package local

// This file hides how a process is recognised as serving a cluster where there
// is no /proc: by the pid file and ps(1), which shows postmasters only.

import (
	"os/exec"
	"strconv"
	"strings"
)

func serving(data string) []proc {
	f, err := readPidFile(data)
	if err != nil || f.pid <= 0 {
		return nil
	}
	if p, ok := inspect(f.pid, data); ok {
		return []proc{p}
	}
	return nil
}

func inspect(pid int, data string) (proc, bool) {
	command := commandOf(pid)
	if !strings.Contains(command, "postgres") || !strings.Contains(command, data) {
		return proc{}, false
	}
	return proc{pid: pid, main: true, ours: strings.Contains(command, "cluster_name="+namePrefix)}, true
}

func isPostgres(pid int) bool { return strings.Contains(commandOf(pid), "postgres") }

func commandOf(pid int) string {
	out, _ := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return string(out)
}
