package history_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/history"
)

// paperJournal is a journal whose readers deliver what is in out.
type paperJournal struct {
	history.JournalStore
	cut uint64
	out chan history.Message
}

func (j *paperJournal) ID() string { return "journal" }

func (j *paperJournal) Head(context.Context, int) (uint64, error) { return 0, nil }

func (j *paperJournal) Trimmed(context.Context, int) (uint64, time.Time, error) {
	return j.cut, time.Time{}, nil
}

func (j *paperJournal) Read(context.Context, int, uint64) (history.Cursor, error) {
	return paperCursor(j.out), nil
}

type paperCursor chan history.Message

func (c paperCursor) Messages() <-chan history.Message { return c }

func (paperCursor) Err() error { return errors.New("the reader failed") }

func (paperCursor) Stop() {}

// paperArchive is an archive of revisions; the rest of it is not asked.
type paperArchive struct {
	history.ArchiveStore
	has []uint64
}

func (a paperArchive) Reaches(context.Context, int, string) (uint64, error) {
	return slices.Max(a.has), nil
}

func (a paperArchive) Each(_ context.Context, _ int, after, upTo uint64, yield func(history.Message) error) error {
	for _, r := range a.has {
		if r <= after || r > upTo {
			continue
		}
		m := history.Message{}
		m.Revision = r
		if err := yield(m); err != nil {
			return err
		}
	}
	return nil
}

func upTo(n uint64) (all []uint64) {
	for r := uint64(1); r <= n; r++ {
		all = append(all, r)
	}
	return all
}

// A reader gets every revision once, also when the journal is trimmed while it is
// read.
func TestReadFillsFromTheArchive(t *testing.T) {
	for name, c := range map[string]struct {
		after, cut uint64
		sent       []uint64 // by the journal
		archive    []uint64
		want       []uint64
		err        error
	}{
		"whole":               {0, 0, upTo(5), nil, upTo(5), nil},
		"trimmed":             {0, 3, []uint64{4, 5}, upTo(3), upTo(5), nil},
		"from within":         {2, 3, []uint64{4, 5}, upTo(3), []uint64{3, 4, 5}, nil},
		"from behind":         {3, 3, []uint64{4, 5}, nil, []uint64{4, 5}, nil},
		"trimmed meanwhile":   {0, 0, []uint64{1, 4, 6}, upTo(5), upTo(6), nil},
		"again":               {0, 2, []uint64{5, 6}, upTo(5), upTo(6), nil},
		"gap in the archive":  {0, 4, []uint64{5}, []uint64{1, 2, 4}, []uint64{1, 2}, history.ErrNotArchived},
		"meanwhile, and lost": {0, 0, []uint64{1, 4}, []uint64{3}, []uint64{1}, history.ErrNotArchived},
	} {
		t.Run(name, func(t *testing.T) {
			out := make(chan history.Message, 10)
			var archive history.ArchiveStore
			if c.archive != nil {
				archive = paperArchive{has: c.archive}
			}
			h := history.New(&paperJournal{cut: c.cut, out: out}, archive, 0)
			for _, r := range c.sent {
				m := history.Message{}
				m.Revision = r
				out <- m
			}
			cur, err := h.Read(t.Context(), 0, c.after)
			if err != nil {
				t.Fatal(err)
			}
			defer cur.Stop()
			var got []uint64
			for len(got) < len(c.want) {
				m, ok := <-cur.Messages()
				if !ok {
					t.Fatalf("the cursor ended after %v: %v", got, cur.Err())
				}
				got = append(got, m.Revision)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			if c.err == nil {
				return
			}
			if m, ok := <-cur.Messages(); ok || !errors.Is(cur.Err(), c.err) {
				t.Errorf("then %+v, %v; want %v", m, cur.Err(), c.err)
			}
		})
	}
}
