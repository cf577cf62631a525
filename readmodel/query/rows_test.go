package query_test

import (
	"fmt"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/query/querytest"
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
