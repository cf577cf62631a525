//go:build !linux

package harness

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Processes returns the living processes whose command line names dir. Without
// /proc it does not see the children of postgres.
func Processes(dir string) []Process {
	out, _ := exec.Command("ps", "-axww", "-o", "pid=,command=").Output()
	var found []Process
	for line := range strings.Lines(string(out)) {
		number, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(number)
		if err == nil && pid != os.Getpid() && strings.Contains(command, dir) {
			found = append(found, Process{PID: pid, Command: command})
		}
	}
	return found
}
