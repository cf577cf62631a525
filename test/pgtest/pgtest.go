// Package pgtest opens migrated databases on a real PostgreSQL server for tests.
package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Migrated returns a pool on a new database with the current schema.
func Migrated(t testing.TB) *pg.DB {
	t.Helper()
	db, err := pg.Open(support.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context(), harness.Log(t)); err != nil {
		t.Fatal(err)
	}
	return db
}

// Count returns the single number that a query selects.
func Count(t testing.TB, db *pg.DB, sql string) (n int) {
	t.Helper()
	if err := db.Pool().QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// When is a time in whole microseconds, which timestamptz stores exactly.
var When = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

// HoldLock takes an advisory lock as a login without rights until the test ends.
func HoldLock(t testing.TB, db *pg.DB, key int64) {
	t.Helper()
	cfg := db.Pool().Config().ConnConfig
	cfg.User, cfg.Password = "stranger", "stranger"
	_, err := db.Pool().Exec(t.Context(), `DO $$ BEGIN CREATE ROLE stranger LOGIN PASSWORD 'stranger'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
	harness.Must(t, err)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	harness.Must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, key)
	harness.Must(t, err)
}
