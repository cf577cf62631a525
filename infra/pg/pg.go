// Package pg holds what all PostgreSQL adapters share: the connection pool, the
// migrations, checkpoints and SQLSTATE checks. The tables themselves are in the
// packages durable, archive and outbox; package local runs a server.
package pg

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is a connection pool whose statements, lock waits and idle transactions
// time out, so that a stuck session cannot block the engine.
type DB struct{ pool *pgxpool.Pool }

// Open creates the pool; the first use connects. Settings in the URL override
// the default timeouts.
func Open(url string) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse the PostgreSQL URL: %w", redact(err))
	}
	for name, value := range map[string]string{
		"statement_timeout": "15s", "lock_timeout": "5s",
		"idle_in_transaction_session_timeout": "10s",
		"application_name":                    "tidemark", "timezone": "UTC",
	} {
		if _, set := cfg.ConnConfig.RuntimeParams[name]; !set {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	cfg.ConnConfig.ConnectTimeout = 3 * time.Second
	cfg.MaxConns = max(cfg.MaxConns, 16)
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("open the PostgreSQL pool: %w", redact(err))
	}
	return &DB{pool: pool}, nil
}

// redact removes the password of a connection string from an error.
func redact(err error) error {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		return errors.New(parse.Error()) // pgx redacts the password here
	}
	return err
}

// Close closes the pool after its connections are released.
func (d *DB) Close() { d.pool.Close() }

// Ping fails when PostgreSQL does not answer.
func (d *DB) Ping(ctx context.Context) error { return d.pool.Ping(ctx) }

// Pool returns the pgx pool.
func (d *DB) Pool() *pgxpool.Pool { return d.pool }

// Migrate applies pending schema migrations under an advisory lock, so that
// several engines may start on one database.
func (d *DB) Migrate(ctx context.Context, log *slog.Logger) error {
	db := stdlib.OpenDBFromPool(d.pool)
	defer db.Close()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, sub, goose.WithSessionLocker(locker),
		goose.WithTableName("tidemark_schema"))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	for _, r := range done {
		log.Debug("schema migrated", "file", r.Source.Path, "took", r.Duration)
	}
	return nil
}

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
