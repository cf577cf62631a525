package durable_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// TestEachRow reads tables of several pages, each row once; a row whose text is
// not JSON does not affect the others.
func TestEachRow(t *testing.T) {
	ctx, db := t.Context(), pgtest.Migrated(t)
	const n = 3000
	_, err := db.Pool().Exec(ctx, `
		WITH x AS (SELECT i, 'a' || i % 7 AS a, 'k' || i / 7 AS k FROM generate_series(1, $1::int) AS i),
		s AS (INSERT INTO agents.state (agent_id, state_key, state_value, state_text, version, revision, writer, timestamp, updated_at, digest)
			SELECT a, k, '1', CASE i WHEN 1700 THEN 'torn' ELSE '1' END, 1, i, '', now(), now(), '' FROM x)
		INSERT INTO agents.conflicts (agent_id, state_key, version, revision, kind, verb, strategy, timestamp, recorded_at,
			writer, command_id, current_version, current_revision, digest)
		SELECT 'a', 'k', i, i, 'rejected', 'set', 'reject', now(), now(), '', '', 1, 1, '' FROM x`, n)
	if err != nil {
		t.Fatal(err)
	}
	entries, bad, losses, read := map[string]bool{}, 0, uint64(0), 0
	err = durable.NewRows(db).EachRow(ctx, func(r verify.Row) {
		switch r.Kind {
		case readmodel.KindEntry:
			read++
			if r.Bad != nil && !entries[r.Name] {
				bad++
			}
			entries[r.Name] = true
		case readmodel.KindConflict:
			if losses++; r.Version != losses {
				t.Errorf("after version %d of the losses came %d", losses-1, r.Version)
			}
		}
	})
	if err != nil || len(entries) != n || losses != n || bad != 1 || read >= n+1000 {
		t.Errorf("%d rows of %d entries, %d bad, and %d losses: %v", read, len(entries), bad, losses, err)
	}
}
