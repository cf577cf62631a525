package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// testRun names the `go test` that started this process by its pid and start
// time, and reports whether a run still exists. It is empty when something else
// started the process, which may live longer than one state of the code.
func testRun() (run string, alive func(run string) bool) {
	started := func(pid int) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, fields, ok := strings.Cut(string(text), " (go) ")
		if f := strings.Fields(fields); err == nil && ok && len(f) > 19 {
			return fmt.Sprintf("%d-%s", pid, f[19])
		}
		return ""
	}
	return started(os.Getppid()), func(run string) bool {
		pid, _, ok := strings.Cut(run, "-")
		n, err := strconv.Atoi(pid)
		return ok && err == nil && started(n) == run
	}
}
