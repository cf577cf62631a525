package local

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestKilledEngineLeavesNothingRunning(t *testing.T) {
	dir := newDir(t)
	e := startEngine(t, dir)
	url := e.url(t)
	expect(t, url, "CREATE TABLE kept AS SELECT 42 AS answer", "")
	password, err := os.ReadFile(filepath.Join(dir, passwordName))
	harness.Must(t, err)
	other := &Server{dir: dir, password: strings.TrimSpace(string(password))}
	other.account, err = clusterAccount(other.pgdata())
	harness.Must(t, err)
	if len(other.serving()) == 0 {
		t.Fatal("no postgres found while one runs")
	}
	e.kill()
	// At once, while the old postmaster may still be shutting down.
	s := start(t, Config{Dir: dir})
	if s.URL() != url {
		t.Errorf("URL changed from %s to %s", url, s.URL())
	}
	expect(t, s.URL(), "SELECT answer FROM kept", "42")
	stop(t, s)

	e = startEngine(t, dir)
	e.url(t)
	e.kill()
	harness.Eventually(t, "postgres ends with its engine", func() bool { return len(s.serving()) == 0 })
}

func TestKilledPostmasterComesBack(t *testing.T) {
	s := start(t, Config{Dir: sharedDir(t)})
	pool, err := pgxpool.New(t.Context(), s.URL())
	harness.Must(t, err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
	harness.Must(t, err)
	for range 2 {
		pid := s.pid()
		harness.Must(t, syscall.Kill(pid, syscall.SIGKILL))
		harness.Eventually(t, "the pool works again", func() bool {
			var answer int
			err := pool.QueryRow(t.Context(), "SELECT answer FROM kept").Scan(&answer)
			return err == nil && answer == 42 && s.pid() != pid && s.pid() != 0
		})
		expect(t, s.SocketURL(), "SELECT answer FROM kept", "42")
	}
}

// A busy backend does not notice the end of its postmaster and keeps the shared
// memory, which stops a new postmaster from starting.
func TestKilledPostmasterWithBusyBackend(t *testing.T) {
	s := start(t, Config{Dir: sharedDir(t)})
	pid := s.pid()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = queryValue(ctx, s.URL(), "DO 'BEGIN LOOP END LOOP; END'")
	}()
	defer func() {
		cancel()
		<-done
	}()
	harness.Eventually(t, "a backend is busy", func() bool {
		n, err := queryValue(t.Context(), s.SocketURL(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%' AND state = 'active'")
		return err == nil && n == "1"
	})
	harness.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	harness.Eventually(t, "postgres is back", func() bool {
		n, err := queryValue(t.Context(), s.URL(), "SELECT 1")
		return err == nil && n == "1" && s.pid() != pid
	})
}

func TestStopOfAHangingPostgres(t *testing.T) {
	s := start(t, Config{Dir: sharedDir(t)})
	s.grace = 500 * time.Millisecond
	harness.Must(t, syscall.Kill(s.pid(), syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.Stop(ctx)
	wantError(t, err, "without a checkpoint")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("not the context's error: %v", err)
	}
	if left := s.serving(); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
	if again := s.Stop(t.Context()); !errors.Is(again, err) {
		t.Errorf("the second Stop says %v", again)
	}
	s.stopErr = nil // for the cleanup's Stop
}

func TestInterruptedInitdb(t *testing.T) {
	dir := newDir(t)
	e := startEngine(t, dir)
	var left []string
	harness.Eventually(t, "initdb runs", func() bool {
		left, _ = filepath.Glob(filepath.Join(dir, unfinished+"*", "PG_VERSION"))
		return len(left) > 0
	})
	e.kill()
	if exists(filepath.Join(dir, dataName)) {
		t.Fatal("initdb ended before it was interrupted")
	}
	s := start(t, Config{Dir: dir})
	expect(t, s.URL(), "SELECT 1", "1")
	if left, _ = filepath.Glob(filepath.Join(dir, unfinished+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	dir := newDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := Start(ctx, Config{Dir: dir})
		failed <- err
	}()
	pattern := filepath.Join(dir, unfinished+"*")
	harness.Eventually(t, "initdb runs", func() bool {
		at, _ := filepath.Glob(filepath.Join(pattern, "PG_VERSION"))
		return len(at) > 0
	})
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	if left, _ := filepath.Glob(pattern); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	expect(t, start(t, Config{Dir: dir}).URL(), "SELECT 1", "1")
}

// byHand runs postgres on the cluster of a stopped Server.
func byHand(t *testing.T, s *Server, args ...string) *child {
	t.Helper()
	args = append([]string{"-D", s.pgdata(), "-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(s.port),
		"-c", "unix_socket_directories="}, args...)
	p, err := startChild(s.account.command(context.Background(), s.dir, filepath.Join(s.bins.dir, "postgres"), args...), syscall.SIGQUIT)
	harness.Must(t, err)
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-p.done
	})
	harness.Eventually(t, "postgres is ready", func() bool {
		pid, status, err := readPidFile(s.pgdata())
		return p.ended() || err == nil && pid == p.cmd.Process.Pid && status == "ready"
	})
	if p.ended() {
		t.Fatalf("postgres exited: %v", p.cmd.ProcessState)
	}
	return p
}

func TestOrphanIsEndedAndOthersAreNot(t *testing.T) {
	dir := sharedDir(t)
	s := start(t, Config{Dir: dir})
	stop(t, s)

	orphan := byHand(t, s, "-c", "cluster_name="+s.clusterName())
	again := start(t, Config{Dir: dir})
	if !orphan.ended() {
		t.Error("the orphan still runs")
	}
	if again.URL() != s.URL() {
		t.Error("the orphan's port was not taken over")
	}
	stop(t, again)

	other := byHand(t, s)
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, "no engine started", strconv.Itoa(other.cmd.Process.Pid), "pg_ctl stop")
	if other.ended() {
		t.Error("a postgres started by hand was ended")
	}
}

// The pid in the file belongs to a process of the account that is not postgres,
// as happens when a container restarts.
func TestStalePidFile(t *testing.T) {
	dir := sharedDir(t)
	s := start(t, Config{Dir: dir})
	stop(t, s)
	cat, err := exec.LookPath("cat")
	harness.Must(t, err)
	cmd := s.account.command(context.Background(), "/", cat)
	stdin, err := cmd.StdinPipe()
	harness.Must(t, err)
	harness.Must(t, cmd.Start())
	defer func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}()
	lines := []string{strconv.Itoa(cmd.Process.Pid), s.pgdata(), "1700000000", "5432", "", "127.0.0.1", "", "ready"}
	pidFile := filepath.Join(s.pgdata(), pidName)
	harness.Must(t, os.WriteFile(pidFile, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	harness.Must(t, s.account.chown(pidFile))
	again := start(t, Config{Dir: dir})
	expect(t, again.URL(), "SELECT 1", "1")
}
