package historytest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

func (j suite) batch(t *testing.T) {
	for _, id := range ids(j) {
		s := events.StateEntry(id, "k")
		var end uint64
		version := 1
		for _, n := range []int{2, 3, 100} {
			evs := several(s, version, n)
			next := j.mustAppend(t, s, end, evs...)
			if next < end+uint64(n) {
				t.Fatalf("%d events after %d end at %d", n, end, next)
			}
			end, version = next, version+n
			j.wantLast(t, s, end, evs[n-1])
			for i := range evs { // their revisions are consecutive
				at := end - uint64(n-1-i)
				if rec, err := j.At(t.Context(), j.Partition(id), at); err != nil || !reflect.DeepEqual(rec.Event, evs[i]) || rec.Revision != at {
					t.Fatalf("event %d of %d at %d is %+v, %v", i, n, at, rec, err)
				}
			}
		}
		if got := j.all(t, s, time.Unix(0, 0)); len(got) != version-1 {
			t.Errorf("%d events, appended %d", len(got), version-1)
		}
	}
}

func (j suite) batchAgain(t *testing.T) {
	s := events.StateEntry("a", "k")
	first, err := j.Append(t.Context(), history.Writes(s, 0, "batch", several(s, 1, 3)))
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []uint64{first.Revision, 0} {
		got, err := j.Append(t.Context(), history.Writes(s, after, "batch", several(s, 4, 3)))
		switch {
		case err == nil && got.Duplicate && got.Revision == first.Revision-2:
		case errors.Is(err, history.ErrOutcomeUnknown): // a journal need not report which event is the duplicate
		case after == 0 && errors.Is(err, history.ErrConflict):
		default:
			t.Errorf("again after %d: %+v, %v", after, got, err)
		}
	}
	j.wantLast(t, s, first.Revision, several(s, 3, 1)[0])
}

func (j suite) sinceTime(t *testing.T) {
	for _, id := range ids(j) {
		s, other := events.StateEntry(id, "k"), events.StateEntry(id, "k.other")
		var revision uint64
		var between []time.Time
		for v := 1; v <= 4; v++ {
			between = append(between, time.Now())
			revision = j.mustAppend(t, s, revision, event(s, v, "1"))
			j.mustAppend(t, other, 0+lastOf(t, j, other), event(other, v, "1"))
		}
		between = append(between, time.Now())
		for i, from := range between {
			got := j.all(t, s, from)
			if len(got) != 4-i {
				t.Fatalf("since before event %d there are %d", i+1, len(got))
			}
			for k, rec := range got {
				if rec.Name != s || rec.Version != uint64(i+k+1) || k > 0 && rec.Revision <= got[k-1].Revision {
					t.Errorf("since before event %d, the %d. is %+v", i+1, k+1, rec)
				}
			}
		}
		if got := j.all(t, s, time.Unix(0, 0)); len(got) != 4 {
			t.Errorf("since the epoch there are %d", len(got))
		}
		if got := j.all(t, s, time.Now().Add(time.Hour)); len(got) > 0 {
			t.Errorf("since a future time: %d", len(got))
		}
		for _, from := range []time.Time{time.Unix(0, 0), time.Unix(0, 0).Add(-5 * time.Second), between[0].Add(-24 * time.Hour)} {
			if got := j.all(t, s, from); len(got) != 4 {
				t.Errorf("since %s: %d", from, len(got))
			}
		}
	}
}

func lastOf(t *testing.T, j suite, s events.AggregateName) uint64 {
	t.Helper()
	rec, _, err := j.Last(t.Context(), s, history.Linearizable)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Revision
}

func (j suite) sinceStops(t *testing.T) {
	s := events.StateEntry("a", "k")
	j.mustAppend(t, s, 0, several(s, 1, 10)...)
	for stop := 1; stop <= 10; stop++ {
		calls := 0
		if err := j.Since(t.Context(), s, time.Unix(0, 0), func(events.Record) bool { calls++; return calls < stop }); err != nil || calls != stop {
			t.Errorf("yield was called %d times, expected %d: %v", calls, stop, err)
		}
	}
}

func (j suite) sinceLong(t *testing.T) {
	s, other := events.StateEntry("a", "k"), events.StateEntry("a", "other")
	const n = 1203 // more than one page
	var end, side uint64
	for v := 1; v <= n; v += 401 {
		end = j.mustAppend(t, s, end, several(s, v, 401)...)
		side = j.mustAppend(t, other, side, several(other, v, 2)...)
	}
	got := j.all(t, s, time.Unix(0, 0))
	if len(got) != n {
		t.Fatalf("%d of %d", len(got), n)
	}
	for i, rec := range got {
		if rec.Version != uint64(i+1) {
			t.Fatalf("the %d. has version %d", i+1, rec.Version)
		}
	}
}

func (j suite) sinceLarge(t *testing.T) {
	s := events.StateEntry("a", "k")
	const n = 48 // of 256 KiB each: more than one response may hold
	var end uint64
	for v := 1; v <= n; v++ {
		end = j.mustAppend(t, s, end, event(s, v, `"`+strings.Repeat("v", 256<<10-2)+`"`))
	}
	if got := j.all(t, s, time.Unix(0, 0)); len(got) != n {
		t.Errorf("%d of %d", len(got), n)
	}
}

func (j suite) at(t *testing.T) {
	for _, id := range ids(j) {
		s, p := events.StateEntry(id, "k"), j.Partition(id)
		revision := j.mustAppend(t, s, 0, event(s, 1, "1"))
		rec, err := j.At(t.Context(), p, revision)
		if want := (events.Record{Event: event(s, 1, "1"), Name: s, Partition: p, Revision: revision}); err != nil || !reflect.DeepEqual(rec, want) {
			t.Errorf("%+v, %v\nwant %+v", rec, err, want)
		}
		if rec, err := j.At(t.Context(), p, revision+1); err == nil {
			t.Errorf("after the last revision: %+v", rec)
		}
	}
}

func (j suite) race(t *testing.T) {
	s := events.StateEntry("a", "k")
	const writers, each = 6, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				last, _, err := j.Last(t.Context(), s, history.Fast)
				if err != nil {
					t.Error(err)
					return
				}
				ev := event(s, int(last.Version)+1, fmt.Sprintf(`"%d-%d"`, w, n))
				_, err = j.Append(t.Context(), history.Writes(s, last.Revision, fmt.Sprintf("%d-%d-%d", w, n, last.Version), []events.Event{ev}))
				switch {
				case err == nil:
					n++
				case !errors.Is(err, history.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	got, seen := j.all(t, s, time.Unix(0, 0)), map[string]bool{}
	for i, rec := range got {
		if rec.Version != uint64(i+1) || seen[string(rec.Data)] {
			t.Errorf("the %d. is version %d: %s", i+1, rec.Version, rec.Data)
		}
		seen[string(rec.Data)] = true
	}
	if len(got) != writers*each {
		t.Errorf("%d of %d", len(got), writers*each)
	}
}
