package local

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// serving finds all running postgres processes of the cluster, with or without
// a postmaster.
func serving(data string) []proc {
	entries, _ := os.ReadDir("/proc")
	var found []proc
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if p, ok := inspect(pid, data); ok {
			found = append(found, p)
		}
	}
	return found
}

// inspect goes by the working directory, which for postgres is its data
// directory. Where that is hidden from us (a container's root without
// CAP_SYS_PTRACE, proc(5)) it goes by owner and cluster name.
func inspect(pid int, data string) (proc, bool) {
	if !isPostgres(pid) {
		return proc{}, false
	}
	at := filepath.Join("/proc", strconv.Itoa(pid))
	home, err := os.Stat(data)
	if err != nil {
		return proc{}, false
	}
	cmdline, err := os.ReadFile(filepath.Join(at, "cmdline"))
	if err != nil || len(cmdline) == 0 { // it is exiting and has let go of all memory
		return proc{}, false
	}
	cwd, err := os.Stat(filepath.Join(at, "cwd"))
	switch {
	case errors.Is(err, fs.ErrPermission):
		owner, err := os.Stat(at)
		if err != nil || owner.Sys().(*syscall.Stat_t).Uid != home.Sys().(*syscall.Stat_t).Uid {
			return proc{}, false
		}
		if !bytes.Contains(cmdline, []byte(clusterName(data))) && !bytes.Contains(cmdline, []byte("\x00"+data+"\x00")) {
			return proc{}, false
		}
	case err != nil || !os.SameFile(cwd, home):
		return proc{}, false
	}
	title, child := strings.CutPrefix(string(cmdline), "postgres: ")
	return proc{pid: pid, main: !child, ours: child && strings.HasPrefix(title, namePrefix) ||
		!child && strings.Contains(title, "\x00cluster_name="+namePrefix)}, true
}

// isPostgres goes by the program's name; a dead process does not count even if
// nobody has waited for it.
func isPostgres(pid int) bool {
	// proc(5): "pid (comm) state …"
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte("("))
	i := bytes.LastIndexByte(rest, ')')
	if i < 0 || i+2 >= len(rest) {
		return false
	}
	name, state := string(rest[:i]), rest[i+2]
	return (name == "postgres" || name == "postmaster") && state != 'Z' && state != 'X'
}
