package history_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// trimmingJournal is a journal that is trimmed while it is read: of its revisions up to
// cut, which is 0 before, it has some.
type trimmingJournal struct {
	history.JournalStore
	cut, then uint64
	has       []uint64
}

func (j *trimmingJournal) ID() string { return "journal" }

func (j *trimmingJournal) Trimmed(context.Context, int) (uint64, time.Time, error) {
	return j.cut, time.Time{}, nil
}

func (j *trimmingJournal) Range(_ context.Context, r history.Range, yield func(history.Message) error) error {
	j.cut = j.then
	for _, revision := range j.has {
		m := version(revision)
		if revision > r.After && (revision <= r.UpTo || r.UpTo == 0) {
			if err := yield(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// version is the event of the only aggregate at a revision, which is its version too.
func version(revision uint64) (m history.Message) {
	m.Revision, m.Version = revision, revision
	return m
}

func (j *trimmingJournal) Partition(string) int { return 0 }

func (j *trimmingJournal) First(context.Context, events.AggregateName) (history.Message, error) {
	left := slices.DeleteFunc(slices.Clone(j.has), func(r uint64) bool { return r <= j.cut })
	return version(left[0]), nil
}

func (a paperArchive) Back(_ context.Context, _ int, _ events.AggregateName, below uint64, limit int) (page []events.Record, err error) {
	for _, r := range slices.Backward(a.has) {
		if r < below && len(page) < limit {
			page = append(page, version(r).Record)
		}
	}
	return page, nil
}

// Of gives every event of an aggregate once, in order, also when a trim takes some of them
// meanwhile.
func TestOfFillsWhatATrimTakesMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		after, upTo uint64
		cut, then   uint64
		journal     []uint64
		want        []uint64
	}{
		"nothing is trimmed":       {0, 0, 0, 0, upTo(5), upTo(5)},
		"before":                   {1, 0, 3, 3, []uint64{4, 5}, []uint64{2, 3, 4, 5}},
		"before, in part":          {3, 0, 2, 2, []uint64{3, 4, 5}, []uint64{4, 5}},
		"meanwhile":                {0, 0, 0, 4, []uint64{5}, upTo(5)},
		"meanwhile, after one":     {2, 0, 0, 4, []uint64{5}, []uint64{3, 4, 5}},
		"meanwhile, some are read": {0, 0, 0, 4, []uint64{1, 2, 5}, upTo(5)},
		"meanwhile, up to":         {0, 4, 0, 4, []uint64{1, 5}, upTo(4)},
		"all up to":                {1, 3, 0, 4, []uint64{5}, []uint64{2, 3}},
		"again":                    {0, 0, 2, 4, []uint64{5}, upTo(5)},
	} {
		t.Run(name, func(t *testing.T) {
			h := history.New(&trimmingJournal{cut: c.cut, then: c.then, has: c.journal}, paperArchive{has: upTo(4)}, 0)
			var got []uint64
			err := h.Of(t.Context(), "task.t", c.after, c.upTo, func(m history.Message) error {
				got = append(got, m.Revision)
				return nil
			})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
		})
	}
}

// Untrimmed is whole only where no trim took a part of the range, before or meanwhile.
func TestUntrimmedNoticesATrim(t *testing.T) {
	full := errors.New("the page is full")
	for name, c := range map[string]struct {
		cut, then uint64
		end       error // of yield, at revision 3
		whole     bool
		want      []uint64
	}{
		"nothing is trimmed":      {0, 0, nil, true, []uint64{2, 3, 4, 5}},
		"trimmed up to the range": {1, 1, nil, true, []uint64{2, 3, 4, 5}},
		"the page is full":        {0, 0, full, true, []uint64{2, 3}},
		"trimmed before":          {2, 2, nil, false, nil},
		"trimmed meanwhile":       {0, 4, nil, false, []uint64{2, 3, 4, 5}},
		"both meanwhile":          {1, 2, full, false, []uint64{2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			h := history.New(&trimmingJournal{cut: c.cut, then: c.then, has: upTo(5)}, paperArchive{has: upTo(4)}, 0)
			var got []uint64
			whole, err := h.Untrimmed(t.Context(), history.Range{After: 1, UpTo: 5}, func(m history.Message) error {
				got = append(got, m.Revision)
				if m.Revision == 3 {
					return c.end
				}
				return nil
			})
			if whole != c.whole || !errors.Is(err, c.end) || !slices.Equal(got, c.want) {
				t.Errorf("%v, whole %t, %v; want %v, whole %t", got, whole, err, c.want, c.whole)
			}
		})
	}
}

// Between and Matching give every revision once, also when a trim takes some of them meanwhile.
func TestBetweenFillsWhatATrimTakesMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		after, upTo uint64
		cut, then   uint64
		journal     []uint64
		archive     []uint64
		want        []uint64
		err         error
	}{
		"nothing is trimmed":    {0, 5, 0, 0, upTo(5), nil, upTo(5), nil},
		"before":                {1, 5, 3, 3, []uint64{4, 5}, upTo(3), []uint64{2, 3, 4, 5}, nil},
		"meanwhile":             {0, 6, 0, 5, []uint64{2, 5, 6}, upTo(5), upTo(6), nil},
		"meanwhile, at the end": {0, 4, 0, 5, []uint64{2, 5, 6}, upTo(5), upTo(4), nil},
		"all of it":             {0, 3, 0, 5, []uint64{5, 6}, upTo(5), upTo(3), nil},
		"again":                 {0, 6, 2, 5, []uint64{5, 6}, upTo(5), upTo(6), nil},
		"and lost":              {0, 6, 0, 5, []uint64{1, 5, 6}, []uint64{1, 2, 5}, []uint64{1, 2}, history.ErrNotArchived},
		"a gap of no trim":      {0, 6, 0, 0, []uint64{1, 5, 6}, nil, []uint64{1, 5, 6}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := history.New(&trimmingJournal{cut: c.cut, then: c.then, has: c.journal}, paperArchive{has: c.archive}, 0)
			var got []uint64
			err := h.Between(t.Context(), 0, c.after, c.upTo, func(m history.Message) error {
				got = append(got, m.Revision)
				return nil
			})
			if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
				t.Errorf("%v, %v; want %v, %v", got, err, c.want, c.err)
			}
			got = nil // Matching gives the same ones, those of the trim last
			h = history.New(&trimmingJournal{cut: c.cut, then: c.then, has: c.journal}, paperArchive{has: c.archive}, 0)
			err = h.Matching(t.Context(), 0, []events.AggregateName{">"}, c.after, c.upTo, func(m history.Message) error {
				got = append(got, m.Revision)
				return nil
			})
			if slices.Sort(got); !errors.Is(err, c.err) || err == nil && !slices.Equal(got, c.want) {
				t.Errorf("matching: %v, %v; want %v, %v", got, err, c.want, c.err)
			}
		})
	}
}
