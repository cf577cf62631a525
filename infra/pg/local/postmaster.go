package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const readyTimeout = 60 * time.Second // for the first login

// settings override postgresql.conf, where users may tune the rest. They suit
// two cores and a development machine; jit costs more than it gains on short
// queries.
func (s *Server) settings() []string {
	all := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port),
		"unix_socket_directories=" + s.socketDir, "unix_socket_permissions=0700",
		"cluster_name=" + s.clusterName(), // part of every process title, see orphans
		"max_connections=100", "shared_buffers=128MB", "jit=off",
		"track_commit_timestamp=on",    // the outbox is relayed in the order of commits
		"max_prepared_transactions=64", // applications may insert into it in two-phase transactions
		"wal_recycle=off",              // a file that is used again keeps what erased agents had in it
		"fsync=on", "full_page_writes=on", "synchronous_commit=on",
		"temp_file_limit=1GB", // of one process of an application: the journal is on the same disk
		"timezone=UTC", "log_timezone=UTC", "log_destination=stderr", "logging_collector=off",
	}
	if s.bins.major >= reservesSince {
		all = append(all, "reserved_connections="+strconv.Itoa(reserved))
	}
	return all
}

// reserved are the connections that only the engine and its commands can open, on servers
// that can reserve some. loginLimit is how many any other login may open that has no limit of
// its own: one alone cannot take all of them.
const (
	reserved      = 40
	reservesSince = 16 // major
	loginLimit    = 40
)

// launch starts postgres and returns once a client can log in. When it fails
// after the start, s.postmaster is the child that failed.
//
// When the engine dies, postgres gets SIGQUIT (immediate shutdown), not SIGINT:
// it then ends at once and does not hold directory and port during a
// checkpoint. The next start replays committed transactions from the WAL; only
// commits with synchronous_commit=off may be lost, as in any crash.
func (s *Server) launch(ctx context.Context) error {
	if err := s.endOrphans(ctx, orphanWait); err != nil {
		return err
	}
	if err := s.removeStaleFiles(); err != nil {
		return err
	}
	args := []string{"-D", s.pgdata()}
	for _, setting := range s.settings() {
		args = append(args, "-c", setting)
	}
	cmd := s.account.command(context.Background(), s.dir, filepath.Join(s.bins.dir, "postgres"), args...)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	p, err := startChild(cmd, syscall.SIGQUIT)
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.postmaster.Store(p)
	pause := &backoff.ExponentialBackOff{InitialInterval: 5 * time.Millisecond, Multiplier: 1.05, MaxInterval: 50 * time.Millisecond}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		if p.ended() {
			return struct{}{}, backoff.Permanent(fmt.Errorf("it exited (%s)", p.cmd.ProcessState))
		}
		return struct{}{}, s.checkReady(ctx, p)
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))
	if err != nil {
		return fmt.Errorf("postgres did not become ready: %w; %s ends with: %s", err, s.out.path, s.out.takeTail())
	}
	return nil
}

var errNotReady = errors.New("postmaster.pid does not say ready")

// checkReady waits for the pid file to say ready before it connects: earlier
// attempts only fill the log with refusals.
func (s *Server) checkReady(ctx context.Context, p *child) error {
	pid, status, err := readPidFile(s.pgdata())
	if err != nil {
		return err
	}
	if pid != p.cmd.Process.Pid || status != "ready" {
		return errNotReady
	}
	return s.setUp(ctx)
}
