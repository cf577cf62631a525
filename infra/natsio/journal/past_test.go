package journal_test

import (
	"fmt"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal/journaltest"
	"github.com/tidemark-engine/tidemark/readmodel/readmodeltest"
)

func TestPast(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprint(partitions, " partitions"), func(t *testing.T) {
			readmodeltest.Past(t, func(t *testing.T) readmodeltest.Journal {
				j := journaltest.New(t, partitions)
				return readmodeltest.Journal{Past: journal.Past{Journal: j}, Append: func(t *testing.T, s events.Stream, ev events.Event) uint64 {
					last, _, err := j.Last(t.Context(), s, history.Linearizable)
					if err != nil {
						t.Fatal(err)
					}
					at, err := j.Append(t.Context(), s, last.Revision, fmt.Sprint(s, ev.Version), []events.Event{ev})
					if err != nil {
						t.Fatal(err)
					}
					return at.Revision
				}}
			})
		})
	}
}
