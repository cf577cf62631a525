package historytest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// comparing returns a write that compares another aggregate than its own.
func comparing(s events.AggregateName, version int, other events.AggregateName, after uint64) history.Write {
	w := write(s, version, true, after, "")
	w.Compares = other
	return w
}

func (j suite) batchCompares(t *testing.T) {
	for _, id := range ids(j) {
		one, two, none := events.StateEntry(id, "one"), events.StateEntry(id, "two"), events.StateEntry(id, "none")
		seen := j.mustAppend(t, one, 0, event(one, 1, `1`))
		at, version := uint64(0), 0
		try := func(other events.AggregateName, after uint64, holds bool) {
			t.Helper()
			appended, err := j.Append(t.Context(), []history.Write{write(two, version+1, true, at, ""), comparing(two, version+2, other, after)})
			if holds && err == nil {
				at, version = appended.Revision, version+2
				return
			}
			if holds || !errors.Is(err, history.ErrConflict) {
				t.Errorf("%s after %d: %v", other, after, err)
			}
		}
		try(one, 0, false)
		try(one, seen+1, false)
		try(none, seen, false)
		try(one, seen, true)
		try(none, 0, true)
		now := j.mustAppend(t, one, seen, event(one, 2, `2`))
		try(one, seen, false)
		try(one, now, true)
		j.wantLast(t, one, now, event(one, 2, `2`)) // what is compared is not changed
	}
}

// batchComparesInRace: one writer changes x if y is as it was, another y if x is. At most
// one of both may succeed.
func (j suite) batchComparesInRace(t *testing.T) {
	for round := range 40 {
		x, y := events.StateEntry("r", fmt.Sprint("x", round)), events.StateEntry("r", fmt.Sprint("y", round))
		var open sync.WaitGroup
		errs := make([]error, 2)
		for i, of := range [][2]events.AggregateName{{x, y}, {y, x}} {
			open.Go(func() {
				_, errs[i] = j.Append(t.Context(), []history.Write{write(of[0], 1, true, 0, ""), comparing(of[0], 2, of[1], 0)})
			})
		}
		open.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, history.ErrConflict):
				t.Errorf("round %d: %v", round, err)
			}
		}
		if won > 1 {
			t.Fatalf("round %d: both writers won", round)
		}
	}
}

// Compares runs the tests of comparisons with other aggregates on an empty journal.
func Compares(t *testing.T, journal history.Journal) {
	t.Run("compares", suite{journal}.batchCompares)
	t.Run("race", suite{journal}.batchComparesInRace)
}
