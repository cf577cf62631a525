package query_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	natsjournal "github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/query/querytest"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

func TestRows(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprint(partitions, " partitions"), func(t *testing.T) {
			querytest.Rows(t, func(t *testing.T) querytest.History {
				h := history.New(journaltest.New(t, partitions), nil, 0)
				return querytest.History{Rows: query.Rows{History: h}, Append: func(t *testing.T, s events.AggregateName, ev events.Event) uint64 {
					last, _, err := h.Last(t.Context(), s, history.Linearizable)
					if err != nil {
						t.Fatal(err)
					}
					at, err := h.Append(t.Context(), history.Writes(s, last.Revision, fmt.Sprint(s, ev.Version), []events.Event{ev}))
					if err != nil {
						t.Fatal(err)
					}
					return at.Revision
				}}
			})
		})
	}
}

// Of a long history of large values, a page is read and no more; the pages together are the
// whole history.
func TestAPageOfLargeVersionsIsReadAlone(t *testing.T) {
	journal := &counting{Journal: journaltest.New(t, 1)}
	h := history.New(journal, nil, 0)
	rows := query.Rows{History: h}
	name := events.StateEntry("a", "k")
	const versions = 20
	value := []byte(`"` + strings.Repeat("x", 200_000) + `"`)
	revision := uint64(0)
	for v := range uint64(versions) {
		ev := events.Event{Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: v + 1, Digest: "d", Schema: 1,
			Timestamp: time.Now().UTC(), RecordedAt: time.Now().UTC(), Data: (&events.StateWrite{Value: value}).Encode()}
		at, err := h.Append(t.Context(), history.Writes(name, revision, fmt.Sprint(v), []events.Event{ev}))
		harness.Must(t, err)
		revision = at.Revision
	}
	q := query.Query{Rows: rows}
	var seen []uint64
	for cursor := ""; ; {
		journal.ends.Store(0)
		body, err := q.Ask(t.Context(), []string{"agent", "a", "history"}, fmt.Appendf(nil, `{"key":"k","limit":1000,"cursor":%q}`, cursor))
		harness.Must(t, err)
		var page struct {
			Versions []struct{ Version uint64 }
			Cursor   string
		}
		harness.Must(t, json.Unmarshal(body, &page))
		for _, v := range page.Versions {
			seen = append(seen, v.Version)
		}
		if n := journal.ends.Load(); len(body) > 1<<20 || n > 6 {
			t.Errorf("a page of %d versions has %d bytes, and %d events were read for it", len(page.Versions), len(body), n)
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if len(seen) != versions || !slices.IsSortedFunc(seen, func(a, b uint64) int { return int(b) - int(a) }) {
		t.Errorf("versions %v", seen)
	}
}

// counting counts the last events that are read.
type counting struct {
	*natsjournal.Journal
	ends atomic.Int64
}

func (c *counting) Ends(ctx context.Context, names []events.AggregateName, b history.Bound, f history.Freshness) ([]history.Message, error) {
	c.ends.Add(int64(len(names)))
	return c.Journal.Ends(ctx, names, b, f)
}
