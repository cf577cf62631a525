package pg_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { support.Main(m) }

// migrated is a pool on a database of the test's own, with the schema.
func migrated(t testing.TB) *pg.DB {
	t.Helper()
	db, err := pg.Open(support.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context(), support.Log(t)); err != nil {
		t.Fatal(err)
	}
	return db
}
