// Package pg holds what all PostgreSQL adapters share: the connection pool, the
// migrations, checkpoints and SQLSTATE checks. The tables themselves are in the
// packages durable, archive, declared and outbox; package local runs a server.
package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// defaultConns is the size of the pool where the URL does not set
	// pool_max_conns; minConns is the least with which a rebuild beside the outbox
	// relay does not wait for itself.
	defaultConns, minConns = 16, 3
	connectTimeout         = 3 * time.Second
	pingTimeout            = 2 * time.Second
	// statementTimeout is the server's limit for a statement. A server that does
	// not answer does not keep it, so the client ends the connection later.
	statementTimeout = 15 * time.Second
	answerTimeout    = statementTimeout + 5*time.Second
)

// sessionDefaults are the settings of each session. Settings in the URL override
// them. They are set after the login, because poolers refuse them as startup
// parameters.
var sessionDefaults = map[string]string{
	"statement_timeout": statementTimeout.String(), "lock_timeout": "5s",
	"idle_in_transaction_session_timeout": "10s", "timezone": "UTC",
}

// sessionNeeds are the settings that the engine's statements rely on, whatever the server,
// the database or the role has as a default.
var sessionNeeds = map[string]string{
	"client_encoding": "UTF8", "standard_conforming_strings": "on", "transform_null_equals": "off",
	"default_transaction_isolation": "read committed", "default_transaction_deferrable": "off",
	"datestyle": "ISO, MDY", "intervalstyle": "postgres", "bytea_output": "hex", "extra_float_digits": "1",
}

// DB is a connection pool whose statements, lock waits and idle transactions
// time out, so that neither a stuck session nor a server that stopped answering
// blocks the engine. It replaces dead connections and those to a server that has
// become read-only.
type DB struct {
	pool    *Pool
	schema  string                  // of the engine's tables
	checked atomic.Bool             // the server, or the pooler before it, gives what the engine needs
	waits   atomic.Bool             // for the migrations; see WaitForMigrations
	wanted  atomic.Pointer[columns] // nil = not read yet
}

// Open is OpenSchema with the schema agents.
func Open(url string) (*DB, error) { return OpenSchema(url, string(Live)) }

// OpenSchema creates the pool; the first use connects. Statements are written for the
// schema agents and use this one instead. Settings in the URL override
// the defaults. A passfile and a client certificate that it names are read at each
// connect. The pool has at most pool_max_conns connections, which fails
// below 3.
func OpenSchema(url, schema string) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse the PostgreSQL URL: %w", parseError(err))
	}
	conn := cfg.ConnConfig
	session := map[string]string{}
	for name, value := range sessionDefaults {
		if set, ok := conn.RuntimeParams[name]; ok {
			value = set
			delete(conn.RuntimeParams, name)
		}
		session[name] = value
	}
	for name, value := range sessionNeeds {
		delete(conn.RuntimeParams, name)
		session[name] = value
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "tidemark"
	}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	if !strings.Contains(url, "target_session_attrs") {
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	conn.DialFunc = dialer.DialContext
	closes := conn.OnPgError
	conn.OnPgError = func(c *pgconn.PgConn, e *pgconn.PgError) bool { return e.Code != readOnly && closes(c, e) }
	if session["statement_timeout"] == sessionDefaults["statement_timeout"] {
		conn.Tracer = answerLimit{}
	}
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = defaultConns
	}
	if cfg.MaxConns < minConns {
		return nil, fmt.Errorf("pool_max_conns=%d in the PostgreSQL URL is too few: the engine needs at least %d connections", cfg.MaxConns, minConns)
	}
	cfg.PingTimeout = pingTimeout
	cfg.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error { rereadPassword(url, c); return nil }
	d := &DB{schema: schema}
	cfg.PrepareConn = d.mayUse
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { return d.prepareSession(ctx, c, session) }
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("open the PostgreSQL pool: %w", parseError(err))
	}
	d.pool = &Pool{pool, d}
	return d, nil
}

// rereadPassword takes the password that the passfile of the URL holds now, so that a
// rotated one is used without a restart; pgx does so with client certificates.
func rereadPassword(url string, c *pgx.ConnConfig) {
	if now, err := pgxpool.ParseConfig(url); err == nil {
		c.Password = now.ConnConfig.Password
	}
}

// parseError is what cannot be read in a connection string, without the string: a
// part that looks like a port may be a password.
func parseError(err error) error {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		if err = parse.Unwrap(); err == nil || strings.Contains(err.Error(), `"`) {
			err = errors.New("it is neither postgres://user:password@host:port/database nor host=… user=… dbname=…")
		}
	}
	return err
}

// Close closes the pool after its connections are released.
func (d *DB) Close() { d.pool.Close() }

// Ping fails when PostgreSQL does not answer, or answers but takes no writes: the
// pool then closes its connections, to find the server that does.
func (d *DB) Ping(ctx context.Context) error {
	var state string
	if err := d.pool.QueryRow(ctx, `SELECT current_setting('transaction_read_only')`).Scan(&state); err != nil {
		return err
	}
	if state == "on" {
		d.pool.Reset()
		return errors.New("the PostgreSQL server is read-only")
	}
	return nil
}

// Pool returns the pool of connections.
func (d *DB) Pool() *Pool { return d.pool }

// InTx runs f in a transaction; an error rolls it back.
func (d *DB) InTx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, d.pool, f)
}

// Querier is a pool or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// NoTimeouts removes the time limits of a transaction for long statements and for
// idle time while events are folded. Lock waits still fail after 30 s. Keepalives
// and connection checks end the transaction soon after its client process or
// host is gone; otherwise its locks would block the next run. It raises work_mem
// to join whole tables in memory and disables JIT, which takes longer than these
// statements.
const NoTimeouts = `SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '30s', true),
	set_config('idle_in_transaction_session_timeout', '0', true), set_config('client_connection_check_interval', '500ms', true),
	set_config('tcp_keepalives_idle', '10', true), set_config('tcp_keepalives_interval', '5', true), set_config('tcp_keepalives_count', '3', true),
	set_config('work_mem', '128MB', true), set_config('jit', 'off', true)`
