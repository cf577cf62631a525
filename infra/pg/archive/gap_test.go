package archive_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// The archive does not claim events whose rows are gone, whatever its checkpoint
// says, and is filled again from there.
func TestALostRowIsNoticed(t *testing.T) {
	at := time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC)
	all := make([]history.Message, 300)
	for i := range all {
		all[i] = message(0, uint64(i+1), at.Add(time.Duration(i)*time.Hour), "a", "k", uint64(i+1), fmt.Sprint("c", i+1))
	}
	db := pgtest.Migrated(t)
	a := archive.New(db, "archive")
	archiveAll(t, a, all)
	for name, c := range map[string]struct {
		sql     string
		reaches uint64
	}{
		"an older copy":        {"DELETE FROM agents.events WHERE revision > 200; UPDATE agents.checkpoints SET position = 200", 200},
		"truncated":            {"TRUNCATE agents.events", 0},
		"all rows deleted":     {"DELETE FROM agents.events", 0},
		"one row deleted":      {"DELETE FROM agents.events WHERE revision = 150", 149},
		"a month detached":     {"DROP TABLE agents.events_2026_01", 0},
		"of another journal":   {"UPDATE agents.checkpoints SET incarnation = 'x'", 0},
		"the checkpoint moved": {"UPDATE agents.checkpoints SET position = 10", 10},
		"nothing":              {"SELECT", 300},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := db.Pool().Exec(t.Context(), c.sql)
			harness.Must(t, err)
			harness.Eventually(t, "the loss is noticed", func() error { // the server reports deleted rows with a delay
				got, err := a.Reaches(t.Context(), 0, "j")
				if got != c.reaches || err != nil && !errors.Is(err, history.ErrForeignJournal) {
					return fmt.Errorf("reaches %d, %v; want %d", got, err, c.reaches)
				}
				return nil
			})
			_, _, reaches, err := a.FirstOf(t.Context(), 0, "j", "none", []events.AggregateName{all[0].Name})
			if reaches != c.reaches || err != nil && !errors.Is(err, history.ErrForeignJournal) {
				t.Errorf("the index reaches %d, %v; want %d", reaches, err, c.reaches)
			}
			if position, _, err := a.CheckpointDigest(t.Context(), 0); err == nil && c.reaches > 0 && position != c.reaches {
				t.Errorf("the checkpoint says %d, want %d", position, c.reaches)
			}
			_, err = db.Pool().Exec(t.Context(), "UPDATE agents.checkpoints SET incarnation = 'j'")
			harness.Must(t, err)
			archiveAll(t, a, all)
			expect(t, a, 0, 0, 300, all)
			if got, err := a.Reaches(t.Context(), 0, "j"); got != 300 || err != nil {
				t.Errorf("filled again it reaches %d, %v", got, err)
			}
		})
	}
	// A copy restored at once is noticed by the very next search, before rows are counted.
	_, err := db.Pool().Exec(t.Context(), "TRUNCATE agents.events")
	harness.Must(t, err)
	if _, _, reaches, err := a.FirstOf(t.Context(), 0, "j", "c1", []events.AggregateName{all[0].Name}); reaches != 0 || err != nil {
		t.Errorf("just emptied, the index reaches %d, %v", reaches, err)
	}
}
