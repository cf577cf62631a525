package durable_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// TestWaitingTasks: those that wait or were started since a time, at the view's positions; nothing
// of another journal, of partitions that are not there, or beside a task in quarantine.
func TestWaitingTasks(t *testing.T) {
	db := pgtest.Migrated(t)
	v := durable.New(db, "durable")
	now := time.Now().UTC().Truncate(time.Microsecond)
	var c projections.Changes
	for i, state := range []string{
		`{"status":"created","kind":"k"}`, `{"status":"created","kind":"k","started_at":%q}`, `{"status":"started","kind":"k","started_at":%q}`,
		`{"status":"completed","kind":"k","started_at":%q}`, `{"status":"cancelled","kind":"k"}`,
	} {
		for age, since := range map[string]time.Duration{"new": time.Minute, "old": time.Hour} {
			text := state
			if i > 0 && i < 4 {
				text = fmt.Sprintf(state, now.Add(-since).Format(time.RFC3339Nano))
			}
			c.Docs = append(c.Docs, readmodel.DocChange{Doc: readmodel.Doc{
				Kind: readmodel.KindTask, ID: fmt.Sprint(age, i), State: []byte(text), Timestamp: now, Version: 1, Revision: uint64(len(c.Docs) + 1), UpdatedAt: now,
			}})
		}
	}
	for p, to := range []uint64{10, 7} {
		_, err := v.Load(t.Context(), p, "j")
		harness.Must(t, err)
		harness.Must(t, v.Apply(t.Context(), p, 0, to, c))
		c = projections.Changes{}
	}
	read := func(journal string, partitions int) (ids []string, positions []uint64, known bool) {
		t.Helper()
		positions, known, err := v.WaitingTasks(t.Context(), journal, partitions, now.Add(-10*time.Minute), func(d *readmodel.Doc) { ids = append(ids, d.ID) })
		harness.Must(t, err)
		slices.Sort(ids)
		return ids, positions, known
	}
	ids, positions, known := read("j", 2)
	if !known || !slices.Equal(ids, []string{"new0", "new1", "new2", "new3", "old0", "old1"}) || !slices.Equal(positions, []uint64{10, 7}) {
		t.Errorf("%q at %d, %t", ids, positions, known)
	}
	unknown := func(why, journal string, partitions int) {
		t.Helper()
		if ids, _, known := read(journal, partitions); known || len(ids) > 0 {
			t.Errorf("%s: %q", why, ids)
		}
	}
	unknown("another journal", "k", 2)
	unknown("more partitions", "j", 3)
	_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.dead_letters (source, subject, reason, body) VALUES ('view durable', 'task.t1', 'r', 'b')`)
	harness.Must(t, err)
	unknown("a quarantined task", "j", 2)
}
