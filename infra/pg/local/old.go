package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const namePrefix = "tidemark-"

// clusterName marks every process that serves the cluster, on its command line
// or in its title.
func clusterName(data string) string {
	sum := sha256.Sum256([]byte(data))
	return namePrefix + hex.EncodeToString(sum[:6])
}

// proc is a running postgres process of this cluster.
type proc struct {
	pid  int
	main bool // a postmaster, as opposed to its children
	ours bool // started by an engine, as opposed to by hand
}

// signal looks again at what the pid belongs to, once a handle (on Linux a
// pidfd) pins the process: no signal goes to a successor with the same pid.
func (p proc) signal(data string, signal syscall.Signal) {
	handle, err := os.FindProcess(p.pid)
	if err != nil {
		return
	}
	defer handle.Release()
	if now, ok := inspect(p.pid, data); ok && now == p {
		_ = handle.Signal(signal)
	}
}

// endOld returns once no process of this cluster runs. We hold the directory's
// lock, so one that an engine started is an orphan: it gets a moment, as it may
// be on its way out, then SIGINT (fast shutdown), then SIGQUIT. One started by
// hand is left alone, which is an error.
func (s *Server) endOld(ctx context.Context) error {
	var left []proc
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{0, time.Second}, {syscall.SIGINT, 10 * time.Second}, {syscall.SIGQUIT, 8 * time.Second}} {
		if step.signal != 0 {
			s.log.Warn("an earlier postgres of this cluster still runs; ending it", "pids", pids(left))
			tell(s.data(), left, step.signal)
		}
		limit, cancel := context.WithTimeout(ctx, step.wait)
		err := poll(limit, 10*time.Millisecond, func() bool {
			left = serving(s.data())
			return len(left) == 0 || !anyOurs(left)
		})
		cancel()
		if err == nil && len(left) == 0 {
			return nil
		}
		if err == nil {
			return fmt.Errorf("a PostgreSQL that no engine started serves this cluster (pid %s): stop it first: pg_ctl stop -D %s", pids(left), s.data())
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("an earlier postgres of this cluster does not end (pid %s): kill -9 it", pids(left))
}

// tell signals the postmaster, which ends its children. Children without one
// serve nobody and know only SIGQUIT as "leave now".
func tell(data string, procs []proc, signal syscall.Signal) {
	headed := false
	for _, p := range procs {
		headed = headed || p.main
	}
	for _, p := range procs {
		switch {
		case p.ours && p.main:
			p.signal(data, signal)
		case p.ours && !headed:
			p.signal(data, syscall.SIGQUIT)
		}
	}
}

func anyOurs(procs []proc) bool {
	for _, p := range procs {
		if p.ours {
			return true
		}
	}
	return false
}

func pids(procs []proc) string {
	var text []string
	for _, p := range procs {
		text = append(text, strconv.Itoa(p.pid))
	}
	return strings.Join(text, ", ")
}

// pidFile is what a postmaster says about itself (miscadmin.h, LOCK_FILE_LINE_*).
type pidFile struct {
	pid    int
	status string // "starting", "stopping", "ready", "standby"
}

func pidFilePath(data string) string { return filepath.Join(data, "postmaster.pid") }

func readPidFile(data string) (pidFile, error) {
	text, err := os.ReadFile(pidFilePath(data))
	if err != nil {
		return pidFile{}, err
	}
	lines := bytes.Split(text, []byte("\n"))
	var f pidFile
	if f.pid, err = strconv.Atoi(string(bytes.TrimSpace(lines[0]))); err != nil {
		return pidFile{}, err
	}
	if len(lines) > 7 {
		f.status = string(bytes.TrimSpace(lines[7]))
	}
	return f, nil
}

// dropStalePidFile removes a leftover that postgres would misread: it takes any
// process with that pid and its own user for a running server, and in a
// container pids soon repeat. Only called when no process of this cluster runs.
// Otherwise the file stays: postgres also finds old shared memory by it.
func dropStalePidFile(data string) error {
	f, err := readPidFile(data)
	if err != nil || f.pid <= 0 || errors.Is(syscall.Kill(f.pid, 0), syscall.ESRCH) || isPostgres(f.pid) {
		return nil
	}
	if err := os.Remove(pidFilePath(data)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
