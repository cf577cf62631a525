package query

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

// longJournal has an event at every revision.
type longJournal struct {
	history.JournalStore
	sealed bool
}

func (longJournal) ID() string { return "journal" }

func (longJournal) Trimmed(context.Context, int) (uint64, time.Time, error) {
	return 0, time.Time{}, nil
}

func (j longJournal) Range(_ context.Context, r history.Range, yield func(history.Message) error) error {
	for revision := r.After + 1; revision <= r.UpTo; revision++ {
		m := message(revision, "agent.a.state.k", "k", "", 1)
		if j.sealed {
			m.Seal("key", []byte("box"))
		}
		if err := yield(m); err != nil {
			return err
		}
	}
	return nil
}

// TestReadAhead: the page that follows a full one is read once, for the same request by
// who has the same grants, and not if an erasure may change it meanwhile.
func TestReadAhead(t *testing.T) {
	all := grants.Unrestricted()
	for name, c := range map[string]struct {
		limit  int
		head   uint64
		sealed bool
		asks   *grants.Set
		want   bool
	}{
		"the next page":    {aheadFrom, 2000, false, all, true},
		"the last page":    {aheadFrom, 2 * aheadFrom, false, all, false},
		"a small page":     {aheadFrom - 1, 2000, false, all, false},
		"of another":       {aheadFrom, 2000, false, setOf(t, "query agent:a"), false},
		"encrypted events": {aheadFrom, 2000, true, all, false},
	} {
		t.Run(name, func(t *testing.T) {
			var a ahead
			h := history.New(longJournal{sealed: c.sealed}, nil, 0)
			p := newEventPage(0, "", c.limit, &permission{set: all})
			if err := p.read(t.Context(), h, c.head); !errors.Is(err, errFull) || p.sealed != c.sealed {
				t.Fatal(err, p.sealed)
			}
			a.start(t.Context(), h, p, c.head)
			ask := newEventPage(0, "", c.limit, &permission{set: c.asks})
			ask.next = p.next
			got := a.take(t.Context(), ask.key("journal"))
			if (got != nil) != c.want || got != nil && (got.count != c.limit || got.next != p.next+uint64(c.limit)) {
				t.Errorf("%+v", got)
			}
			if a.take(t.Context(), ask.key("journal")) != nil {
				t.Error("a page is used twice")
			}
		})
	}
}
