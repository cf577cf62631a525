package pg_test

import (
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// TestRemoveOld: rows older than their retention are removed, whatever their
// number; a command that waits is never removed.
func TestRemoveOld(t *testing.T) {
	t.Parallel()
	db := pgtest.Migrated(t)
	for _, sql := range []string{
		`INSERT INTO agents.outbox (command_id, subject, created_at, done_at)
			SELECT 'old' || i, 's', now() - interval '9 d', now() - interval '8 d' FROM generate_series(1, 2500) i`,
		`INSERT INTO agents.outbox (command_id, subject, done_at) VALUES ('new', 's', now()), ('ever', 's', 'infinity')`,
		`INSERT INTO agents.outbox (command_id, subject, created_at) VALUES ('waits', 's', now() - interval '1 year')`,
		`INSERT INTO agents.messages (message_id, kind, sender, body, body_text, sequence, sent_at, stored_at)
			SELECT 'm' || i, 'broadcast', 'a', '1', '1', i, now(), now() - i * interval '1 d' FROM generate_series(0, 20) i`,
		`INSERT INTO agents.conflicts (agent_id, state_key, version, revision, kind, verb, strategy, timestamp, recorded_at, writer, command_id, current_version, current_revision, digest)
			SELECT 'a', 'k', i, i, 'rejected', 'set', 's', now(), now() - i * interval '1 d', 'w', 'c', 1, 1, 'd' FROM generate_series(0, 20) i`,
	} {
		_, err := db.Pool().Exec(t.Context(), sql)
		harness.Mustf(t, err, "%s", sql)
	}
	for table, want := range map[pg.Aging][2]int64{pg.OutboxRows: {2500, 3}, pg.MessageRows: {14, 7}, pg.ConflictRows: {14, 7}} {
		removed, err := db.RemoveOld(t.Context(), table, 7*24*time.Hour)
		harness.Must(t, err)
		if at, err := db.RemovedUpTo(t.Context(), table); err != nil || time.Since(at) > 9*24*time.Hour || at.IsZero() {
			t.Errorf("%s: removed up to %s, %v", table, at, err)
		}
		if left := pgtest.Count(t, db, `SELECT count(*) FROM `+string(table)); removed != want[0] || int64(left) != want[1] {
			t.Errorf("%s: %d removed and %d left, want %v", table, removed, left, want)
		}
	}
	if n := pgtest.Count(t, db, `SELECT count(*) FROM agents.outbox WHERE command_id IN ('new', 'ever', 'waits')`); n != 3 {
		t.Errorf("%d of 3 rows are left", n)
	}
}
