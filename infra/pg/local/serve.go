package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const reasons = 12 // lines of log in the error of a failed start

// open chooses where to listen, serves, and sees to the database.
func (s *Server) open(ctx context.Context) (err error) {
	if s.out, err = openLogbook(filepath.Join(s.home, logName)); err != nil {
		return err
	}
	if err := s.chooseSockets(); err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readyWithin)
		defer cancel()
	}
	if err := s.upOnSomePort(ctx); err != nil {
		return err
	}
	return s.createDatabase(ctx)
}

// upOnSomePort tries again when another program took a chosen port before
// postgres did.
func (s *Server) upOnSomePort(ctx context.Context) (err error) {
	if s.port = s.cfg.Port; s.port != 0 {
		return s.up(ctx)
	}
	s.port = s.rememberedPort()
	for range 3 {
		if s.port == 0 {
			if s.port, err = freePort(); err != nil {
				return err
			}
		}
		if err = s.up(ctx); err == nil {
			return s.rememberPort()
		}
		if p := s.current(); p == nil || !p.ended() || isFree(s.port) {
			return err // not about the port
		}
		s.port = 0
	}
	return err
}

// settings win over postgresql.conf, where the rest may be tuned. They suit two
// cores and a development machine; jit costs more than it gains on short
// queries.
func (s *Server) settings() []string {
	return []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(s.port),
		"unix_socket_directories=" + s.sockets,
		"unix_socket_permissions=0700",
		"cluster_name=" + clusterName(s.data()), // in every process title, see serving
		"max_connections=100",
		"shared_buffers=128MB",
		"fsync=on",
		"full_page_writes=on",
		"synchronous_commit=on",
		"jit=off",
		"timezone=UTC",
		"log_timezone=UTC",
		"log_destination=stderr", // which is ours
		"logging_collector=off",
	}
}

// up runs postgres until it answers or the context ends; what it started is
// current either way.
//
// Should the engine be killed, postgres gets SIGQUIT (immediate shutdown)
// rather than SIGINT: it then ends within moments whatever its clients do, and
// does not hold directory and port against the next engine for the length of a
// checkpoint. What was committed is in the WAL and is replayed at the next
// start; only commits with synchronous_commit=off may be lost, as in any crash.
func (s *Server) up(ctx context.Context) error {
	s.setCurrent(nil)
	if err := s.endOld(ctx); err != nil {
		return err
	}
	if err := errors.Join(dropStalePidFile(s.data()), s.dropStaleSocket()); err != nil {
		return err
	}
	args := []string{"-D", s.data()}
	for _, setting := range s.settings() {
		args = append(args, "-c", setting)
	}
	cmd := s.as.command(s.home, filepath.Join(s.bins.dir, "postgres"), args...)
	s.out.mark()
	cmd.Stdout, cmd.Stderr = s.out, s.out
	p, err := launch(cmd, syscall.SIGQUIT)
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.setCurrent(p)
	err = poll(ctx, 5*time.Millisecond, func() bool { return p.ended() || s.answers(ctx, p) })
	switch {
	case err != nil:
		return fmt.Errorf("postgres did not answer: %w; its log ends: %s", err, s.out.tail(reasons))
	case p.ended():
		return fmt.Errorf("postgres gave up (%s); its log ends: %s", p.cmd.ProcessState, s.out.tail(reasons))
	}
	return nil
}

// answers waits for postgres to call itself ready before it connects: earlier
// attempts would only fill the log with refusals.
func (s *Server) answers(ctx context.Context, p *process) bool {
	f, err := readPidFile(s.data())
	if err != nil || f.pid != p.cmd.Process.Pid || f.status != "ready" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.tcp("postgres"))
	if err != nil {
		s.log.Debug("postgres does not answer yet", "err", err)
		return false
	}
	defer conn.Close(ctx)
	var one int
	return conn.QueryRow(ctx, "SELECT 1").Scan(&one) == nil && one == 1
}

func (s *Server) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.unix("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", s.cfg.Database).Scan(&there); err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{s.cfg.Database}.Sanitize())
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P04" { // duplicate_database
		return nil
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w", s.cfg.Database, err)
	}
	return nil
}
