package pg

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate creates the schema agents if it is missing and applies pending
// migrations under an advisory lock, so that several engines may start on one
// database. Everything is in that schema.
func (d *DB) Migrate(ctx context.Context, log *slog.Logger) error {
	if err := d.InTx(ctx, func(tx pgx.Tx) error { return createSchema(ctx, tx) }); err != nil {
		return missingRight(err)
	}
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
		goose.WithTableName("agents.tidemark_schema"))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return missingRight(fmt.Errorf("migrate the schema: %w", err))
	}
	for _, r := range done {
		log.Debug("schema migrated", "file", r.Source.Path, "took", r.Duration)
	}
	return nil
}

// missingRight says which right to grant when PostgreSQL refuses for the lack of
// one.
func missingRight(err error) error {
	if !HasSQLState(err, notPermitted) {
		return err
	}
	return fmt.Errorf("the engine's role lacks a right: it needs either CREATE on the database, or a schema agents that it owns "+
		"(an administrator: CREATE SCHEMA agents AUTHORIZATION the_role): %w", err)
}

// schemaLock is the key of the advisory lock for creating and repairing the schema.
const schemaLock = 0x7469_6465_7363_6865

// createSchema creates the schema agents. The table of applied migrations was in
// the schema public in earlier builds.
func createSchema(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(schemaLock))
	if err != nil {
		return fmt.Errorf("lock to create the schema agents: %w", err)
	}
	var schema, tables, own, old bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'agents'),
		coalesce(bool_or(schemaname = 'agents' AND tablename = 'checkpoints'), false),
		coalesce(bool_or(schemaname = 'agents' AND tablename = 'tidemark_schema'), false),
		coalesce(bool_or(schemaname = 'public' AND tablename = 'tidemark_schema'), false)
		FROM pg_tables WHERE schemaname IN ('agents', 'public')`).Scan(&schema, &tables, &own, &old)
	if err != nil {
		return fmt.Errorf("look for the schema agents: %w", err)
	}
	var sql string
	if !schema {
		sql = `CREATE SCHEMA agents;`
	}
	switch {
	case old && tables && !own:
		sql += `ALTER TABLE public.tidemark_schema SET SCHEMA agents`
	case old && !tables: // the schema was dropped
		sql += `DROP TABLE public.tidemark_schema`
	}
	if sql == "" {
		return nil
	}
	if _, err = tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("create the schema agents: %w", err)
	}
	return nil
}
