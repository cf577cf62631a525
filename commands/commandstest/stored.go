// Package commandstest has a journal double and checks of a journal that
// commands wrote.
package commandstest

import (
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Stored returns all events of an aggregate.
func Stored(t testing.TB, journal history.Journal, s events.AggregateName) []events.Record {
	t.Helper()
	var got []events.Record
	err := journal.Since(t.Context(), s, time.Unix(0, 0), func(r events.Record) bool { got = append(got, r); return true })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Count expects that many events and losing writes of an entry of agent a1, with
// consecutive versions and chained digests.
func Count(t testing.TB, journal history.Journal, key string, wantEvents, wantLosses int) {
	t.Helper()
	for s, want := range map[events.AggregateName]int{events.StateEntry("a1", key): wantEvents, events.EntryConflicts("a1", key): wantLosses} {
		got, digest := Stored(t, journal, s), ""
		if len(got) != want {
			t.Errorf("%s has %d events, want %d", s, len(got), want)
		}
		for i := range got {
			ev := &got[i].Event
			chained, err := events.Chain(digest, ev)
			if err != nil || ev.Digest != chained || ev.Version != uint64(i+1) {
				t.Errorf("%s: event %d is %s; its digest is %s, %v", s, i+1, ev.Encode(), chained, err)
			}
			digest = ev.Digest
		}
	}
}
