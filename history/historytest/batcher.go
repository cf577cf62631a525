package historytest

import (
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Batching is a journal that appends across streams.
type Batching interface {
	history.Journal
	history.Batcher
}

// Batcher runs the suite; open makes a new, empty journal.
func Batcher(t *testing.T, open func(t *testing.T) Batching) {
	t.Run("all or nothing across streams", func(t *testing.T) { allOrNothing(t, open(t)) })
	t.Run("a known message id refuses all", func(t *testing.T) { knownID(t, open(t)) })
}

// write is the next event of a stream, compared where it is the first.
func write(s events.Stream, version int, first bool, after uint64, id string) history.Write {
	ev := event(s, version, `{ "n":1.50 }`)
	return history.Write{Stream: s, First: first, After: after, ID: id, Event: &ev}
}

func allOrNothing(t *testing.T, b Batching) {
	j := suite{b}
	for _, id := range ids(j) {
		one, two, three := events.StateEntry(id, "one"), events.StateEntry(id, "two"), events.EntryConflicts(id, "one")
		last, err := b.AppendAll(t.Context(), []history.Write{
			write(one, 1, true, 0, id+"a"), write(two, 1, true, 0, id+"b"), write(one, 2, false, 0, id+"c"), write(three, 1, true, 0, ""),
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range []events.Stream{three, one, two, one} { // from the end
			rec, err := j.At(t.Context(), j.Partition(id), last-uint64(i))
			if err != nil || rec.Stream != s {
				t.Errorf("%d from the end is %+v, %v; want %s", i, rec, err, s)
			}
		}
		j.wantEnd(t, one, last-1, event(one, 2, `{ "n":1.50 }`))
		for _, after := range [][2]uint64{{0, last - 2}, {last - 1, 0}, {last - 3, last - 2}, {last - 1, last}, {last + 1, last - 2}} {
			_, err := b.AppendAll(t.Context(), []history.Write{
				write(one, 3, true, after[0], ""), write(two, 2, true, after[1], ""), write(one, 4, false, 0, ""),
			})
			if !errors.Is(err, history.ErrConflict) {
				t.Errorf("after %v of %d: %v", after, last, err)
			}
		}
		j.wantEnd(t, one, last-1, event(one, 2, `{ "n":1.50 }`))
		j.wantEnd(t, two, last-2, event(two, 1, `{ "n":1.50 }`))
	}
}

func knownID(t *testing.T, b Batching) {
	j := suite{b}
	one, two := events.StateEntry("a", "one"), events.StateEntry("a", "two")
	first, err := j.Append(t.Context(), one, 0, "known", several(one, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.AppendAll(t.Context(), []history.Write{write(two, 1, true, 0, "new"), write(one, 2, true, first.Revision, "known")})
	if !errors.Is(err, history.ErrOutcomeUnknown) {
		t.Errorf("with a known id: %v", err)
	}
	if _, ok, err := j.Last(t.Context(), two, history.Linearizable); ok || err != nil {
		t.Errorf("something was stored: %t, %v", ok, err)
	}
	if _, err = b.AppendAll(t.Context(), []history.Write{write(two, 1, true, 0, "new")}); err != nil {
		t.Errorf("an id of a refused batch is not free: %v", err)
	}
}
