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

// TestStuckTasks: those that are started and silent, and that neither a lease nor a deadline
// will end.
func TestStuckTasks(t *testing.T) {
	v := durable.New(pgtest.Migrated(t), "durable")
	now := time.Now().UTC()
	past, soon := now.Add(-2*time.Hour), now.Add(time.Hour)
	var c projections.Changes
	add := func(id, state string, updated time.Time) {
		c.Docs = append(c.Docs, readmodel.DocChange{Doc: readmodel.Doc{
			Kind: readmodel.KindTask, ID: id, State: []byte(state), Timestamp: updated, Version: 1, Revision: uint64(len(c.Docs) + 1), UpdatedAt: updated,
		}})
	}
	at := func(name string, when time.Time) string {
		return `"` + name + `":"` + when.Format(time.RFC3339Nano) + `"`
	}
	add("silent", `{"status":"started","kind":"k"}`, past)
	add("lease ended", `{"status":"started","kind":"k",`+at("lease_expires_at", past)+`}`, past)
	add("deadline passed", `{"status":"started","kind":"k",`+at("deadline", past)+`}`, past)
	add("spoke", `{"status":"started","kind":"k"}`, now)
	add("lease", `{"status":"started","kind":"k",`+at("lease_expires_at", soon)+`}`, past)
	add("deadline", `{"status":"started","kind":"k",`+at("deadline", soon)+`}`, past)
	add("created", `{"status":"created","kind":"k"}`, past)
	add("completed", `{"status":"completed","kind":"k"}`, past)
	_, err := v.Load(t.Context(), 0, "j")
	harness.Must(t, err)
	harness.Must(t, v.Apply(t.Context(), 0, 0, 10, c))
	n, err := v.StuckTasks(t.Context(), now.Add(-time.Hour))
	if err != nil || n != 3 {
		t.Errorf("%d stuck tasks, want 3: %v", n, err)
	}
}
