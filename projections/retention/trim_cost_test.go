package retention

import (
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// TestStreamsOfAnAgentShareASearch: keys of one agent that change together lose
// their common past in one purge; a key that never changes prevents it.
func TestStreamsOfAnAgentShareASearch(t *testing.T) {
	var streams []trimStream
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		streams = append(streams, trimStream{events.StateEntry("a1", key), 1, 100_000, 100_000})
	}
	streams[1].before = 100_010
	alone := trimStream{events.Task("t1"), 5, 9, 4}
	got := inGroups(append(streams, alone), map[events.AggregateName]uint64{"agent.a1.>": 100_000})
	names := map[events.AggregateName]trimStream{}
	for _, s := range got {
		names[s.name] = s
	}
	if len(got) != 3 || names["agent.a1.>"].before != 100_000 || names["agent.a1.>"].first != 1 || names["task.t1"] != alone {
		t.Errorf("%+v", got)
	}
	if b := names[streams[1].name]; b.before != 100_010 || b.first != 100_000 || b.search > 20 {
		t.Errorf("what the common purge leaves: %+v", b)
	}
	if got := inGroups(streams, map[events.AggregateName]uint64{"agent.a1.>": 2}); len(got) != len(streams) {
		t.Errorf("a common purge that removes nothing: %+v", got)
	}
}

// TestEstimateCountsSearches: two trims with the same number of purges take
// different times when the events of one lie far apart.
func TestEstimateCountsSearches(t *testing.T) {
	trim := &Trim{PurgeCost: time.Millisecond}
	near, far := TrimPlan{streams: make([]trimStream, 100)}, TrimPlan{streams: make([]trimStream, 100)}
	for i := range far.streams {
		far.streams[i].search = 200_000
	}
	trim.estimate(&near)
	trim.estimate(&far)
	if near.Seconds < 0.09 || near.Seconds > 0.12 || far.Seconds < 10*near.Seconds {
		t.Errorf("%v and %v seconds", near.Seconds, far.Seconds)
	}
	said := 0.0
	trim.Measured = func(seconds float64) { said = seconds }
	trim.measured(&near, near.streams[:50], 500*time.Millisecond)
	if said < 0.9 || said > 1.1 {
		t.Errorf("ten times slower than estimated, it says %v seconds", said)
	}
}
