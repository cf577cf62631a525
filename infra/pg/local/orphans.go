package local

import (
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

	"github.com/cenkalti/backoff/v5"
)

const pidName = "postmaster.pid"

// orphanWait is how long processes of a dead postmaster get to end by themselves.
const orphanWait = time.Second

// clusterName identifies the processes that an engine started for this cluster:
// it is on the command line of the postmaster and in the titles of its children.
// The path distinguishes a cluster from its copies, the password from a cluster at the
// same path in another container.
func (s *Server) clusterName() string {
	sum := sha256.Sum256([]byte(s.pgdata() + "\x00" + s.password))
	return "tidemark-" + hex.EncodeToString(sum[:6])
}

// serving returns the running postgres processes that an engine started for this
// cluster, with or without a postmaster.
func (s *Server) serving() []process {
	var found []process
	for _, p := range processes(s.account.uid) {
		if p.isPostgres() && strings.Contains(p.command, s.clusterName()) {
			found = append(found, p)
		}
	}
	return found
}

// endOrphans returns once no process serves the cluster. It waits for the
// processes, which may be on their way out, then sends SIGQUIT, and s.grace
// later SIGKILL. Neither loses a commit that is in the WAL. The caller holds the
// lock of the directory.
func (s *Server) endOrphans(ctx context.Context, wait time.Duration) error {
	for _, signal := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL, 0} {
		var left []process
		_, err := backoff.Retry(ctx, func() (struct{}, error) {
			if left = s.serving(); len(left) > 0 {
				return struct{}{}, fmt.Errorf("postgres processes of this cluster do not end (pids %v): restart the machine", left)
			}
			return struct{}{}, nil
		}, backoff.WithBackOff(backoff.NewConstantBackOff(10*time.Millisecond)), backoff.WithMaxElapsedTime(wait))
		if err == nil || ctx.Err() != nil || signal == 0 {
			return err
		}
		s.log.Warn("ending postgres processes", "signal", signal.String(), "pids", fmt.Sprint(left))
		for _, p := range left {
			_ = syscall.Kill(p.pid, signal)
		}
		wait = s.grace
	}
	return nil
}

// readPidFile returns what a postmaster says about itself (miscadmin.h,
// LOCK_FILE_LINE_*). The status is "starting", "stopping", "ready" or "standby".
func readPidFile(pgdata string) (pid int, status string, err error) {
	text, err := os.ReadFile(filepath.Join(pgdata, pidName))
	if err != nil {
		return 0, "", err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) > 7 {
		status = strings.TrimSpace(lines[7])
	}
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	return pid, status, err
}

// removeStaleFiles removes lock files that postgres would misread: it takes any
// process of its user with the pid in the file for a running server, and in a
// container pids soon repeat. The pid file of a dead process stays: postgres
// finds old shared memory by it. The caller has ended all orphans.
func (s *Server) removeStaleFiles() error {
	pidFile := filepath.Join(s.pgdata(), pidName)
	stale := []string{s.socketPath(), s.socketPath() + ".lock"}
	pid, _, err := readPidFile(s.pgdata())
	if err == nil && pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		for _, p := range processes(s.account.uid) {
			if p.pid == pid && p.isPostgres() {
				return fmt.Errorf("%s names a PostgreSQL that no engine started (pid %d): stop it: pg_ctl stop -D %s; if that pid serves another cluster, remove the file",
					pidFile, pid, s.pgdata())
			}
		}
		stale = append(stale, pidFile)
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
