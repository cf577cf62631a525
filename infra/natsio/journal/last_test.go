package journal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// Reading the last events of many aggregates ends, with more bytes than a reader requests at
// once, of small events and of large ones.
func TestLastEventsOfManyAggregates(t *testing.T) {
	for _, c := range []struct{ tasks, bytes int }{{20_000, 1200}, {500, 100_000}} {
		t.Run(fmt.Sprint(c.bytes, " bytes"), func(t *testing.T) {
			h := journaltest.History(t, 1)
			data := []byte(`{"kind":"x","payload":"` + strings.Repeat("x", c.bytes) + `"}`)
			var writes []history.Write
			for i := range c.tasks {
				id := fmt.Sprint("t", i)
				writes = append(writes, history.Write{Name: events.Task(id), First: true, Event: &events.Event{
					Type: events.TaskCreated, Aggregate: "task", ID: id, Version: 1, Timestamp: time.Now().UTC(), RecordedAt: time.Now().UTC(),
					CommandID: "c", Schema: events.Schema, Digest: "d", Data: data,
				}})
				if len(writes) == 900 || len(writes)*c.bytes > 4<<20 || i == c.tasks-1 {
					_, err := h.Append(t.Context(), writes)
					harness.Must(t, err)
					writes = nil
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
			defer cancel()
			seen := map[string]bool{}
			err := h.EachLast(ctx, "task.*", func(rec events.Record) { seen[rec.ID] = true })
			if err != nil || len(seen) != c.tasks {
				t.Errorf("%d of %d tasks: %v", len(seen), c.tasks, err)
			}
		})
	}
}
