package durable

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// ExplainFind returns the plan of a search where rows are not simply read one by one.
func ExplainFind(t *testing.T, db *pg.DB, find readmodel.EntryFind) string {
	t.Helper()
	tx, err := db.Pool().Begin(t.Context())
	harness.Must(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }() // nothing was written
	_, err = tx.Exec(t.Context(), `SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off`)
	harness.Must(t, err)
	sql, args := findStatement(&find, false)
	rows, err := tx.Query(t.Context(), "EXPLAIN "+sql, args...)
	harness.Must(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	harness.Must(t, err)
	return strings.Join(lines, "\n")
}
