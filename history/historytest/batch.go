package historytest

import (
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// write returns a write of the next event of an aggregate; first = after is compared.
func write(s events.AggregateName, version int, first bool, after uint64, id string) history.Write {
	ev := event(s, version, `{ "n":1.50 }`)
	return history.Write{Name: s, First: first, After: after, ID: id, Event: &ev}
}

func (j suite) batchAcross(t *testing.T) {
	for _, id := range ids(j) {
		one, two, three := events.StateEntry(id, "one"), events.StateEntry(id, "two"), events.EntryConflicts(id, "one")
		appended, err := j.Append(t.Context(), []history.Write{
			write(one, 1, true, 0, id+"a"), write(two, 1, true, 0, id+"b"), write(one, 2, false, 0, id+"c"), write(three, 1, true, 0, ""),
		})
		if err != nil {
			t.Fatal(err)
		}
		last := appended.Revision
		for i, s := range []events.AggregateName{three, one, two, one} { // from the end
			rec, err := j.At(t.Context(), j.Partition(id), last-uint64(i))
			if err != nil || rec.Name != s {
				t.Errorf("%d from the end is %+v, %v; want %s", i, rec, err, s)
			}
		}
		j.wantLast(t, one, last-1, event(one, 2, `{ "n":1.50 }`))
		for _, after := range [][2]uint64{{0, last - 2}, {last - 1, 0}, {last - 3, last - 2}, {last - 1, last}, {last + 1, last - 2}} {
			_, err := j.Append(t.Context(), []history.Write{
				write(one, 3, true, after[0], ""), write(two, 2, true, after[1], ""), write(one, 4, false, 0, ""),
			})
			if !errors.Is(err, history.ErrConflict) {
				t.Errorf("after %v of %d: %v", after, last, err)
			}
		}
		j.wantLast(t, one, last-1, event(one, 2, `{ "n":1.50 }`))
		j.wantLast(t, two, last-2, event(two, 1, `{ "n":1.50 }`))
	}
}

func (j suite) batchKnownID(t *testing.T) {
	one, two := events.StateEntry("a", "one"), events.StateEntry("a", "two")
	first, err := j.Append(t.Context(), history.Writes(one, 0, "known", several(one, 1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = j.Append(t.Context(), []history.Write{write(two, 1, true, 0, "new"), write(one, 2, true, first.Revision, "known")})
	if !errors.Is(err, history.ErrOutcomeUnknown) {
		t.Errorf("a batch with a known message id: %v", err)
	}
	if _, ok, err := j.Last(t.Context(), two, history.Linearizable); ok || err != nil {
		t.Errorf("a part of the batch was stored: %t, %v", ok, err)
	}
	if _, err = j.Append(t.Context(), []history.Write{write(two, 1, true, 0, "new")}); err != nil {
		t.Errorf("the message id of a refused batch is not free: %v", err)
	}
}
