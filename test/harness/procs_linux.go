package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Processes returns the living processes that work in dir: by their command
// line, or by their working directory, which for postgres is its data
// directory.
func Processes(dir string) []Process {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	entries, _ := os.ReadDir("/proc")
	var found []Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		at := filepath.Join("/proc", entry.Name())
		cmdline, err := os.ReadFile(filepath.Join(at, "cmdline"))
		if err != nil || len(cmdline) == 0 { // gone, or dead and not waited for
			continue
		}
		command := strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))
		cwd, _ := os.Readlink(filepath.Join(at, "cwd"))
		if strings.Contains(command, dir) || cwd == dir || strings.HasPrefix(cwd, dir+"/") {
			found = append(found, Process{PID: pid, Command: command})
		}
	}
	return found
}
