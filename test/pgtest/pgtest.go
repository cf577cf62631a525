// Package pgtest opens migrated databases on a real server, for tests.
package pgtest

import (
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Migrated is a pool on a database of the test's own, with the schema.
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

// Count is the number that a query returns.
func Count(t testing.TB, db *pg.DB, sql string) (n int) {
	t.Helper()
	if err := db.Pool().QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// When is a time with microseconds, which PostgreSQL keeps.
var When = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
