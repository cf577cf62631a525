//go:build !linux

package local

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// signalOnParentDeath does nothing: only Linux can. The next start ends what a
// killed engine left running.
func signalOnParentDeath(*syscall.SysProcAttr, syscall.Signal) {}

// processes returns the running processes of a user.
func processes(uid uint32) []process {
	out, _ := exec.Command("ps", "-ww", "-o", "pid=,command=", "-U", strconv.FormatUint(uint64(uid), 10)).Output()
	var found []process
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 1 {
			pid, _ := strconv.Atoi(words[0])
			found = append(found, process{pid: pid, command: strings.Join(words[1:], "\x00")})
		}
	}
	return found
}
