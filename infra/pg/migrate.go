package pg

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate creates the engine's schema if it is missing and applies pending
// migrations under an advisory lock, so that several engines may start on one
// database. Everything is in that schema.
func (d *DB) Migrate(ctx context.Context, log *slog.Logger) error {
	ctx = context.WithValue(ctx, migratingKey{}, true)
	if err := d.InTx(ctx, func(tx pgx.Tx) error { return d.createSchema(ctx, tx) }); err != nil {
		return d.missingRight(err)
	}
	db := stdlib.OpenDBFromPool(d.pool.Pool)
	defer db.Close()
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, renamed{sub, d}, goose.WithSessionLocker(migrationLock(d.LockKey(gooseLock))),
		goose.WithTableName(d.Table(versions)))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if err := d.stampVersions(ctx, p, log); err != nil {
		return d.missingRight(fmt.Errorf("make the table of applied migrations again: %w", err))
	}
	done, err := p.Up(ctx)
	if err != nil {
		return d.missingRight(fmt.Errorf("migrate the schema: %w", err))
	}
	for _, r := range done {
		log.Debug("schema migrated", "file", r.Source.Path, "took", r.Duration)
	}
	d.waits.Store(false)
	return nil
}

// ErrNotMigrated is returned for each use of the pool before its migrations are complete; see
// WaitForMigrations.
var ErrNotMigrated = errors.New("the migrations of the schema are not complete")

type migratingKey struct{}

// WaitForMigrations makes each use of the pool fail with ErrNotMigrated until Migrate has
// succeeded: a migration is a transaction of its own, so that between two of them others find
// tables that do not fit this build. Call it before the first use.
func (d *DB) WaitForMigrations() { d.waits.Store(true) }

// mayUse is called before a connection is taken from the pool, and keeps it there.
func (d *DB) mayUse(ctx context.Context, _ *pgx.Conn) (bool, error) {
	if d.waits.Load() && ctx.Value(migratingKey{}) == nil {
		return true, ErrNotMigrated
	}
	return true, nil
}

// gooseLock is the key of the advisory lock for migrations, also of engines of earlier builds.
const gooseLock = 4097083626

// migrationLock is the key of the advisory lock of a session that migrates. One that another
// login holds is passed over; each migration is a transaction of its own.
type migrationLock int64

// SessionLock implements lock.SessionLocker.
func (key migrationLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	for {
		var locked bool
		err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1) OR `+LockedByOther, int64(key)).Scan(&locked)
		if err != nil || locked {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another engine migrates the schema: %w", context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// SessionUnlock implements lock.SessionLocker. The session may have no lock.
func (key migrationLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(key))
	return err
}

// versions is the table of applied migrations.
const versions = "tidemark_schema"

// stampVersions makes the table of applied migrations again if it was removed from
// outside. A repair has brought the other tables to what the newest migration makes.
func (d *DB) stampVersions(ctx context.Context, p *goose.Provider, log *slog.Logger) error {
	var lost bool
	err := d.pool.QueryRow(ctx, `SELECT to_regclass('agents.`+versions+`') IS NULL AND to_regclass('agents.checkpoints') IS NOT NULL`).Scan(&lost)
	if err != nil || !lost {
		return err
	}
	if err := d.Repair(ctx, "durable", log); err != nil {
		return err
	}
	if _, err := p.GetDBVersion(ctx); err != nil { // it makes the table
		return err
	}
	for _, s := range p.ListSources() {
		if _, err := d.pool.Exec(ctx, `INSERT INTO agents.`+versions+` (version_id, is_applied) VALUES ($1, true)`, s.Version); err != nil {
			return err
		}
	}
	log.Warn("the table of applied migrations was removed from outside; it is made again")
	return nil
}

// renamed are the migrations for the schema of a database.
type renamed struct {
	fs.FS
	db *DB
}

// Open implements fs.FS.
func (r renamed) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if _, dir := f.(fs.ReadDirFile); err != nil || dir {
		return f, err
	}
	text, err := io.ReadAll(f)
	return renamedFile{f, strings.NewReader(r.db.In(string(text)))}, err
}

type renamedFile struct {
	fs.File
	text io.Reader
}

func (f renamedFile) Read(p []byte) (int, error) { return f.text.Read(p) }

// missingRight says which right to grant when PostgreSQL refuses for the lack of
// one.
func (d *DB) missingRight(err error) error {
	if !HasSQLState(err, notPermitted) {
		return err
	}
	return fmt.Errorf("the engine's role lacks a right: it needs either CREATE on the database, or a schema %[1]s that it owns "+
		"(an administrator: CREATE SCHEMA %[1]s AUTHORIZATION the_role): %[2]w", d.schema, err)
}

// schemaLock is the key of the advisory lock for creating and repairing the schema.
const schemaLock = 0x7469_6465_7363_6865

// LockSchema makes a transaction wait for others that create, repair or move tables of the
// schema, or grant rights on them: a GRANT locks no table, and one that runs beside such a
// change fails it.
func (d *DB) LockSchema(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, LockAdvisory, d.LockKey(schemaLock)); err != nil {
		return fmt.Errorf("lock the schema %s: %w", d.schema, err)
	}
	return nil
}

// createSchema creates the engine's schema. The table of applied migrations was in
// the schema public in earlier builds, which knew the name agents alone.
func (d *DB) createSchema(ctx context.Context, tx pgx.Tx) error {
	if err := d.LockSchema(ctx, tx); err != nil {
		return err
	}
	var schema, any, tables, own, old bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
		coalesce(bool_or(schemaname = $1), false),
		coalesce(bool_or(schemaname = $1 AND tablename = 'checkpoints'), false),
		coalesce(bool_or(schemaname = $1 AND tablename = 'tidemark_schema'), false),
		coalesce(bool_or(schemaname = 'public' AND tablename = 'tidemark_schema'), false) AND $1 = 'agents'
		FROM pg_tables WHERE schemaname IN ($1, 'public')`, d.schema).Scan(&schema, &any, &tables, &own, &old)
	if err != nil {
		return fmt.Errorf("look for the schema %s: %w", d.schema, err)
	}
	if any && !tables && !own {
		return &Unsuitable{fmt.Sprintf("the schema %s has tables, and they are not an engine's: name another one with --postgres-schema", d.schema)}
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
		return fmt.Errorf("create the schema %s: %w", d.schema, err)
	}
	return nil
}
