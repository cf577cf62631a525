// Package historytest is the test suite that every implementation of the history
// ports must pass. Each adapter runs it on a real server.
package historytest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Journal runs the suite; open creates a new, empty journal.
func Journal(t *testing.T, open func(t *testing.T) history.Journal) {
	for _, c := range []struct {
		name string
		test func(suite, *testing.T)
	}{
		{"an aggregate without events has no last event", suite.emptyHasNoLast},
		{"an appended event is the last one", suite.appendedIsLast},
		{"an append after a stale revision conflicts", suite.staleConflicts},
		{"each aggregate is compared by itself", suite.separateAggregates},
		{"a message id is stored once", suite.idOnce},
		{"a batch is stored in order", suite.batch},
		{"a batch across aggregates is all or nothing", suite.batchAcross},
		{"a batch compares what it does not write", suite.batchCompares},
		{"a batch races with writers of what it compares", suite.batchComparesInRace},
		{"a repeated batch is not stored again", suite.batchAgain},
		{"a duplicate message id fails the batch", suite.batchKnownID},
		{"since starts at a time", suite.sinceTime},
		{"since stops when yield returns false", suite.sinceStops},
		{"since reads many events", suite.sinceLong},
		{"since reads large events", suite.sinceLarge},
		{"at reads one revision", suite.at},
		{"concurrent writers never overwrite each other", suite.race},
		{"a cancelled append reports its outcome truthfully", suite.cancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(suite{open(t)}, t) })
	}
}

type suite struct{ history.Journal }

var when = time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)

// event returns an event of an agent's state entry or of its losing writes.
func event(s events.AggregateName, version int, value string) events.Event {
	parts := strings.SplitN(string(s), ".", 4) // agent.<id>.state.<key>
	ev := events.Event{
		Type: events.StateSet, Aggregate: "agent", ID: s.ID(), Key: parts[3], Version: uint64(version), Timestamp: when, RecordedAt: when,
		Writer: "w", CommandID: fmt.Sprintf("c-%d", version), Schema: events.Schema, Digest: "d",
	}
	ev.Data = (&events.StateWrite{Value: []byte(value), Strategy: "timestamp", Request: "r"}).Encode()
	if parts[2] == "conflict" {
		ev.Type = events.StateRejected
		ev.Data = (&events.StateLoss{Verb: "set", Value: []byte(value), Reason: "state.conflict"}).Encode()
	}
	return ev
}

func several(s events.AggregateName, from, n int) []events.Event {
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = event(s, from+i, fmt.Sprintf(`{ "n": %d }`, from+i))
	}
	return evs
}

// mustAppend appends events with a unique message id and returns the revision.
func (j suite) mustAppend(t *testing.T, s events.AggregateName, after uint64, evs ...events.Event) uint64 {
	t.Helper()
	id := fmt.Sprintf("%s-%d-%d", s, after, evs[0].Version)
	got, err := j.Append(t.Context(), history.Writes(s, after, id, evs))
	if err != nil || got.Duplicate || got.Revision == 0 {
		t.Fatalf("append to %s after %d: %+v, %v", s, after, got, err)
	}
	return got.Revision
}

// wantLast compares the last event of an aggregate, read with every freshness.
func (j suite) wantLast(t *testing.T, s events.AggregateName, revision uint64, want events.Event) {
	t.Helper()
	for _, f := range []history.Freshness{history.Fast, history.Linearizable} {
		rec, ok, err := j.Last(t.Context(), s, f)
		wanted := events.Record{Event: want, Name: s, Partition: j.Partition(s.ID()), Revision: revision}
		if err != nil || !ok || !reflect.DeepEqual(rec, wanted) {
			t.Errorf("the last event of %s is %+v, %t, %v\nwant %+v", s, rec, ok, err, wanted)
		}
	}
}

// all returns the events of an aggregate since a time.
func (j suite) all(t *testing.T, s events.AggregateName, from time.Time) []events.Record {
	t.Helper()
	var got []events.Record
	if err := j.Since(t.Context(), s, from, func(r events.Record) bool { got = append(got, r); return true }); err != nil {
		t.Fatal(err)
	}
	return got
}

// ids returns one agent id per partition.
func ids(j history.Journal) []string {
	seen := map[int]bool{}
	var found []string
	for i := range 200 {
		id := fmt.Sprintf("agent-%d", i)
		if p := j.Partition(id); !seen[p] {
			seen[p] = true
			found = append(found, id)
		}
	}
	return found
}

func (j suite) emptyHasNoLast(t *testing.T) {
	for _, f := range []history.Freshness{history.Fast, history.Linearizable} {
		if rec, ok, err := j.Last(t.Context(), events.StateEntry("a", "k"), f); ok || err != nil {
			t.Errorf("%+v, %t, %v", rec, ok, err)
		}
	}
	if got := j.all(t, events.StateEntry("a", "k"), time.Unix(0, 0)); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	if len(j.Incarnation()) < 8 || j.Incarnation() != j.Journal.Incarnation() {
		t.Errorf("the incarnation is %q", j.Incarnation())
	}
}

func (j suite) appendedIsLast(t *testing.T) {
	for _, id := range ids(j) {
		for _, s := range []events.AggregateName{events.StateEntry(id, "k"), events.StateEntry(id, "a.b=/c"), events.EntryConflicts(id, "k")} {
			var revision uint64
			for v := 1; v <= 3; v++ {
				ev := event(s, v, `{ "b":1.50,"a":[12345678901234567890,"\u0041"] }`)
				next := j.mustAppend(t, s, revision, ev)
				if next <= revision {
					t.Fatalf("%s: revision %d after %d", s, next, revision)
				}
				revision = next
				j.wantLast(t, s, revision, ev)
			}
		}
	}
}

func (j suite) staleConflicts(t *testing.T) {
	for _, id := range ids(j) {
		s := events.StateEntry(id, "k")
		first := j.mustAppend(t, s, 0, event(s, 1, "1"))
		j.mustAppend(t, events.StateEntry(id, "other"), 0, event(s, 1, "1"))
		second := j.mustAppend(t, s, first, event(s, 2, "2"))
		for _, after := range []uint64{0, first, second - 1, second + 1, 1 << 40} {
			got, err := j.Append(t.Context(), history.Writes(s, after, fmt.Sprintf("late-%s-%d", id, after), several(s, 3, 1)))
			if !errors.Is(err, history.ErrConflict) {
				t.Errorf("after %d of %d: %+v, %v", after, second, got, err)
			}
			got, err = j.Append(t.Context(), history.Writes(s, after, fmt.Sprintf("late-batch-%s-%d", id, after), several(s, 3, 3)))
			if !errors.Is(err, history.ErrConflict) {
				t.Errorf("three after %d of %d: %+v, %v", after, second, got, err)
			}
		}
		j.wantLast(t, s, second, event(s, 2, "2"))
	}
}

func (j suite) separateAggregates(t *testing.T) {
	a, b, c := events.StateEntry("a", "k"), events.StateEntry("a", "k.k"), events.EntryConflicts("a", "k")
	ra := j.mustAppend(t, a, 0, event(a, 1, "1"))
	rb := j.mustAppend(t, b, 0, event(b, 1, "2"))
	rc := j.mustAppend(t, c, 0, event(c, 1, "3"))
	j.wantLast(t, a, ra, event(a, 1, "1"))
	j.wantLast(t, b, rb, event(b, 1, "2"))
	j.wantLast(t, c, rc, event(c, 1, "3"))
	ra = j.mustAppend(t, a, ra, event(a, 2, "4"))
	j.wantLast(t, a, ra, event(a, 2, "4"))
	if got := j.all(t, b, time.Unix(0, 0)); len(got) != 1 {
		t.Errorf("%s has %d events", b, len(got))
	}
}

func (j suite) idOnce(t *testing.T) {
	for _, id := range ids(j) {
		s, other := events.StateEntry(id, "k"), events.EntryConflicts(id, "k")
		first, err := j.Append(t.Context(), history.Writes(s, 0, "same-"+id, several(s, 1, 1)))
		if err != nil || first.Duplicate {
			t.Fatalf("%+v, %v", first, err)
		}
		want := history.Appended{Revision: first.Revision, Duplicate: true}
		if got, err := j.Append(t.Context(), history.Writes(s, first.Revision, "same-"+id, several(s, 2, 1))); err != nil || got != want {
			t.Errorf("again, in order: %+v, %v", got, err)
		}
		if got, err := j.Append(t.Context(), history.Writes(other, 0, "same-"+id, several(other, 1, 1))); err != nil || got != want {
			t.Errorf("again, as a losing write of the same entry: %+v, %v", got, err)
		}
		got, err := j.Append(t.Context(), history.Writes(s, 0, "same-"+id, several(s, 1, 1)))
		if !errors.Is(err, history.ErrConflict) && (err != nil || got != want) {
			t.Errorf("again, stale: %+v, %v", got, err)
		}
		j.wantLast(t, s, first.Revision, several(s, 1, 1)[0])
		if _, ok, err := j.Last(t.Context(), other, history.Linearizable); ok || err != nil {
			t.Errorf("the losing write was stored: %t, %v", ok, err)
		}
	}
}

func (j suite) cancelled(t *testing.T) {
	s := events.StateEntry("a", "k")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := j.Append(ctx, history.Writes(s, 0, "cancelled", several(s, 1, 1)))
	if errors.Is(err, history.ErrConflict) {
		t.Fatalf("a conflict on an empty stream: %v", err)
	}
	// The same append again leaves one event, whatever the first returned.
	got, again := j.Append(t.Context(), history.Writes(s, 0, "cancelled", several(s, 1, 1)))
	switch {
	case again == nil && got.Duplicate && err != nil && !errors.Is(err, history.ErrOutcomeUnknown):
		t.Errorf("reported as not stored (%v), but it was", err)
	case again == nil && !got.Duplicate && err == nil:
		t.Error("reported as stored, but it was not")
	case again != nil && !errors.Is(again, history.ErrConflict):
		t.Errorf("again: %v", again)
	}
	if n := len(j.all(t, s, time.Unix(0, 0))); n != 1 {
		t.Errorf("%d events", n)
	}
}
