package pg

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// minVersion is the oldest PostgreSQL major that the engine runs on: 14 has
// client_connection_check_interval.
const minVersion = 14

// Unsuitable is the error for a server that the engine cannot use as it is set
// up. No retry helps; an operator must act.
type Unsuitable struct{ reason string }

func (e *Unsuitable) Error() string { return e.reason }

// dialer notices a peer that is gone within seconds.
var dialer = &net.Dialer{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	Control:         limitUnacknowledged,
}

// prepareSession sets the session's settings. Once for each pool it checks that
// the server gives what the engine needs.
func (d *DB) prepareSession(ctx context.Context, conn *pgx.Conn, settings map[string]string) error {
	args := make([]any, 0, 2*len(settings))
	set := make([]string, 0, len(settings))
	for name, value := range settings {
		args = append(args, name, value)
		set = append(set, fmt.Sprintf("set_config($%d, $%d, false)", len(args)-1, len(args)))
	}
	rows, err := conn.Query(ctx, "SELECT "+strings.Join(set, ", "), append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return fmt.Errorf("prepare the PostgreSQL session: %w", err)
	}
	if rows.Close(); rows.Err() != nil {
		return fmt.Errorf("prepare the PostgreSQL session: %w", rows.Err())
	}
	if d.checked.Load() {
		return nil
	}
	var version int
	var pid uint32
	var encoding string
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, pg_backend_pid(), current_setting('server_encoding')", pgx.QueryExecModeSimpleProtocol).
		Scan(&version, &pid, &encoding); err != nil {
		return fmt.Errorf("read the version of PostgreSQL: %w", err)
	}
	if version/10000 < minVersion {
		return &Unsuitable{fmt.Sprintf("PostgreSQL %d is too old: the engine needs PostgreSQL %d or later", version/10000, minVersion)}
	}
	if encoding != "UTF8" {
		return &Unsuitable{fmt.Sprintf("the database has the encoding %s, in which it cannot keep every value: the engine needs one with UTF8 (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)", encoding)}
	}
	if pid != conn.PgConn().PID() { // the login named another process: a pooler is in between
		if err := checkPooler(ctx, conn); err != nil {
			return err
		}
	}
	d.checked.Store(true)
	return nil
}

var errPooler = &Unsuitable{"--postgres leads to a connection pooler in transaction or statement mode. The engine needs sessions of its own " +
	"(advisory locks, LISTEN, session settings, prepared statements): name the PostgreSQL server itself, or set pool_mode=session for the engine's database"}

// checkPooler fails when a session shares its server process with others. While
// another session holds a transaction open, the server process of the first one
// must stay the same and be another one.
func checkPooler(ctx context.Context, conn *pgx.Conn) error {
	cfg := conn.Config()
	cfg.Tracer = nil
	other, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect twice to the connection pooler: %w", err)
	}
	defer other.Close(context.WithoutCancel(ctx))
	process := func(c *pgx.Conn) (pid uint32, err error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second) // a pooler may have no second server process
		defer cancel()
		err = c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid)
		return pid, err
	}
	var pids []uint32
	for range 3 {
		before, err := process(conn)
		if err != nil {
			return err
		}
		if _, err := other.Exec(ctx, "BEGIN", pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		held, err := process(other)
		if err != nil {
			return err
		}
		after, err := process(conn)
		if err != nil || held == before || held == after {
			return errPooler
		}
		if _, err := other.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if pids = append(pids, before, after); slices.Min(pids) != slices.Max(pids) {
			return errPooler
		}
	}
	return nil
}

// answerLimit ends a statement whose answer does not come, and its connection.
// Transactions with NoTimeouts and the connections of Unlimited have no limit.
type answerLimit struct{}

var (
	_ pgx.QueryTracer    = answerLimit{}
	_ pgx.BatchTracer    = answerLimit{}
	_ pgx.CopyFromTracer = answerLimit{}
)

type cancelKey struct{}

// unlimited marks a connection in a transaction with NoTimeouts, or one of Unlimited.
const unlimited = "tidemark: no limit"

func start(ctx context.Context, conn *pgx.Conn, statements ...string) context.Context {
	data := conn.PgConn().CustomData()
	for _, s := range statements {
		switch s {
		case NoTimeouts:
			data[unlimited] = true
		case "begin", "commit", "rollback":
			delete(data, unlimited)
		}
	}
	if data[unlimited] != nil {
		return ctx
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	return context.WithValue(ctx, cancelKey{}, cancel)
}

func end(ctx context.Context) {
	if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

func (answerLimit) TraceQueryStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return start(ctx, conn, d.SQL)
}

func (answerLimit) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) { end(ctx) }

func (answerLimit) TraceBatchStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	statements := make([]string, len(d.Batch.QueuedQueries))
	for i, q := range d.Batch.QueuedQueries {
		statements[i] = q.SQL
	}
	return start(ctx, conn, statements...)
}

func (answerLimit) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (answerLimit) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) { end(ctx) }

func (answerLimit) TraceCopyFromStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return start(ctx, conn)
}

func (answerLimit) TraceCopyFromEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	end(ctx)
}
