// Package pg is everything that speaks SQL: the schema, the durable view's
// transactions and the reads of the durable tier.
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

// DB is a pool with the timeouts that keep a stuck session from holding the
// engine: statements, locks and idle transactions all end by themselves.
type DB struct{ pool *pgxpool.Pool }

// Open makes the pool; it connects when it is first used.
func Open(url string) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the Postgres URL: %w", redact(err))
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
		return nil, fmt.Errorf("open the Postgres pool: %w", redact(err))
	}
	return &DB{pool: pool}, nil
}

// redact keeps a password in a connection string out of errors.
func redact(err error) error {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		return errors.New(parse.Error()) // pgx redacts the password here
	}
	return err
}

// Close closes the pool, waiting for what is under way.
func (d *DB) Close() { d.pool.Close() }

// Ping tells whether Postgres answers.
func (d *DB) Ping(ctx context.Context) error { return d.pool.Ping(ctx) }

// Pool is the pool itself, for the program's own tools.
func (d *DB) Pool() *pgxpool.Pool { return d.pool }

// Migrate brings the schema up to date, one engine at a time.
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
		log.Debug("migrated", "file", r.Source.Path, "took", r.Duration)
	}
	return nil
}

// inTx runs f in a transaction; any error rolls it back.
func (d *DB) InTx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, d.pool, f)
}

type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// NoTimeouts lets a transaction take what it takes, also where it waits for a
// fold. It still gives up on locks, and ends with its process or machine: one
// that was killed would hold the shadow and the view against the next run.
// Whole tables are joined in memory, and without compiling, which takes longer
// than these statements do.
const NoTimeouts = `SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '30s', true),
	set_config('idle_in_transaction_session_timeout', '0', true), set_config('client_connection_check_interval', '500ms', true),
	set_config('tcp_keepalives_idle', '10', true), set_config('tcp_keepalives_interval', '5', true), set_config('tcp_keepalives_count', '3', true),
	set_config('work_mem', '128MB', true), set_config('jit', 'off', true)`
