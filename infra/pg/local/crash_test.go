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

func TestKilledOwnerLeavesNothingRunning(t *testing.T) {
	dir := room(t)
	o := newOwner(t, dir)
	url := o.url(t)
	expect(t, url, "CREATE TABLE kept AS SELECT 42 AS answer", "")
	if len(serving(filepath.Join(dir, dataName))) == 0 {
		t.Fatal("no postgres found while one runs")
	}
	o.kill()
	// At once, while the old postmaster may still be on its way out.
	s := start(t, Config{Dir: dir})
	if s.URL() != url {
		t.Errorf("URL changed from %s to %s", url, s.URL())
	}
	expect(t, s.URL(), "SELECT answer FROM kept", "42")
	stop(t, s)

	o = newOwner(t, dir)
	o.url(t)
	o.kill()
	harness.Eventually(t, "postgres has followed its owner", func() bool { return len(serving(s.data())) == 0 })
}

func TestKilledPostmasterComesBack(t *testing.T) {
	s := start(t, Config{Dir: standing(t)})
	pool, err := pgxpool.New(t.Context(), s.URL())
	harness.Must(t, err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
	harness.Must(t, err)
	for range 2 {
		pid := s.Pid()
		harness.Must(t, syscall.Kill(pid, syscall.SIGKILL))
		harness.Eventually(t, "the pool works again", func() bool {
			var answer int
			err := pool.QueryRow(t.Context(), "SELECT answer FROM kept").Scan(&answer)
			return err == nil && answer == 42 && s.Pid() != pid && s.Pid() != 0
		})
		expect(t, s.SocketURL(), "SELECT answer FROM kept", "42")
	}
}

// A backend that computes does not look whether its postmaster lives, and keeps
// the shared memory that a new one would need.
func TestKilledPostmasterWithBusyBackend(t *testing.T) {
	s := start(t, Config{Dir: standing(t)})
	pid := s.Pid()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = ask(ctx, s.URL(), "DO 'BEGIN LOOP END LOOP; END'")
	}()
	defer func() {
		cancel()
		<-done
	}()
	harness.Eventually(t, "a backend is busy", func() bool {
		n, err := ask(t.Context(), s.SocketURL(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%' AND state = 'active'")
		return err == nil && n == "1"
	})
	harness.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	harness.Eventually(t, "postgres is back", func() bool {
		n, err := ask(t.Context(), s.URL(), "SELECT 1")
		return err == nil && n == "1" && s.Pid() != pid
	})
}

func TestStopOfAHangingPostgres(t *testing.T) {
	s := start(t, Config{Dir: standing(t)})
	s.grace = 500 * time.Millisecond
	harness.Must(t, syscall.Kill(s.Pid(), syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.Stop(ctx)
	wantError(t, err, "without a checkpoint")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("not the context's error: %v", err)
	}
	if left := serving(s.data()); len(left) > 0 {
		t.Errorf("still running: %s", pids(left))
	}
	if again := s.Stop(t.Context()); !errors.Is(again, err) {
		t.Errorf("the second Stop says %v", again)
	}
	s.stopErr = nil // for the cleanup's Stop
}

func TestInterruptedInitdb(t *testing.T) {
	dir := room(t)
	o := newOwner(t, dir)
	var left []string
	harness.Eventually(t, "initdb is at work", func() bool {
		left, _ = filepath.Glob(filepath.Join(dir, unfinished+"*", "PG_VERSION"))
		return len(left) > 0
	})
	o.kill()
	if _, err := os.Stat(filepath.Join(dir, dataName)); err == nil {
		t.Fatal("initdb was over before it was interrupted")
	}
	s := start(t, Config{Dir: dir})
	expect(t, s.URL(), "SELECT 1", "1")
	if left, _ = filepath.Glob(filepath.Join(dir, unfinished+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	dir := room(t)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := Start(ctx, Config{Dir: dir})
		failed <- err
	}()
	pattern := filepath.Join(dir, unfinished+"*")
	harness.Eventually(t, "initdb is at work", func() bool {
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

// byHand runs postgres on the cluster of a stopped Server, without tying it to
// a launcher.
func byHand(t *testing.T, s *Server, args ...string) *process {
	t.Helper()
	args = append([]string{"-D", s.data(), "-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(s.port),
		"-c", "unix_socket_directories=" + s.sockets}, args...)
	p, err := launch(s.as.command(s.home, filepath.Join(s.bins.dir, "postgres"), args...), syscall.SIGQUIT)
	harness.Must(t, err)
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-p.done
	})
	harness.Eventually(t, "postgres is ready", func() bool {
		f, err := readPidFile(s.data())
		return p.ended() || err == nil && f.pid == p.cmd.Process.Pid && f.status == "ready"
	})
	if p.ended() {
		t.Fatalf("postgres gave up: %v", p.err)
	}
	return p
}

func TestOrphanIsEndedAndAStrangerIsNot(t *testing.T) {
	dir := standing(t)
	s := start(t, Config{Dir: dir})
	stop(t, s)

	orphan := byHand(t, s, "-c", "cluster_name="+clusterName(s.data()))
	again := start(t, Config{Dir: dir})
	if !orphan.ended() {
		t.Error("the orphan still runs")
	}
	if again.URL() != s.URL() {
		t.Error("the orphan's port was not taken over")
	}
	stop(t, again)

	stranger := byHand(t, s)
	_, err := tryStart(t, Config{Dir: dir})
	wantError(t, err, "no engine started", strconv.Itoa(stranger.cmd.Process.Pid), "pg_ctl stop")
	if stranger.ended() {
		t.Error("a postgres started by hand was ended")
	}
}

// The pid in the file belongs to a living process of postgres' own user that is
// no postgres, as happens when a container starts again.
func TestStalePidFile(t *testing.T) {
	dir := standing(t)
	s := start(t, Config{Dir: dir})
	stop(t, s)
	cat, err := exec.LookPath("cat")
	harness.Must(t, err)
	cmd := s.as.command("/", cat)
	stdin, err := cmd.StdinPipe()
	harness.Must(t, err)
	harness.Must(t, cmd.Start())
	defer func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}()
	lines := []string{strconv.Itoa(cmd.Process.Pid), s.data(), "1700000000", "5432", "", "127.0.0.1", "", "ready"}
	harness.Must(t, writeWhole(pidFilePath(s.data()), strings.Join(lines, "\n")+"\n", 0o600, s.as))
	again := start(t, Config{Dir: dir})
	expect(t, again.URL(), "SELECT 1", "1")
}
