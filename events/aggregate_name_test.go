package events_test

import (
	"fmt"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
)

// Where an agent lives is fixed for the journal's life: these never change.
func TestPartitionIsStable(t *testing.T) {
	for id, want := range map[string][3]int{ // among 4, 7 and 64
		"": {1, 2, 5}, "a": {0, 5, 44}, "a1": {3, 2, 39}, "agent-7": {2, 3, 18}, "01JGFJJZ00TESTTESTTESTTEST": {1, 1, 17}, "Z_-": {1, 0, 33},
	} {
		got := [3]int{events.Partition(id, 4), events.Partition(id, 7), events.Partition(id, 64)}
		if got != want {
			t.Errorf("%q: %#v, was %v", id, got, want)
		}
		for _, n := range []int{-1, 0, 1} {
			if p := events.Partition(id, n); p != 0 {
				t.Errorf("%q among %d is %d", id, n, p)
			}
		}
	}
}

func TestPartitionSpreads(t *testing.T) {
	for _, n := range []int{2, 4, 16, 64} {
		for _, form := range []string{"agent-%d", "a%d", "01JGFJJZ%08d", "%032x"} {
			count := make([]int, n)
			const ids = 32_000
			for i := range ids {
				count[events.Partition(fmt.Sprintf(form, i), n)]++
			}
			for p, c := range count {
				if c < ids/n*7/10 || c > ids/n*13/10 {
					t.Errorf("%s: partition %d of %d has %d of %d ids", form, p, n, c, ids)
				}
			}
		}
	}
}

func TestStreams(t *testing.T) {
	for s, want := range map[events.AggregateName]string{
		events.StateEntry("a1", "k.l=/"): "agent.a1.state.k.l=/",
		events.EntryConflicts("a1", "k"): "agent.a1.conflict.k",
		events.AgentStates("a1"):         "agent.a1.state.>",
	} {
		if string(s) != want || s.ID() != "a1" {
			t.Errorf("%s of %s, not %s", s, s.ID(), want)
		}
	}
	if id := events.AggregateName("task.t9").ID(); id != "t9" {
		t.Error(id)
	}
	if id := events.AggregateName("odd").ID(); id != "" {
		t.Error(id)
	}
}

func TestKeyOfAName(t *testing.T) {
	for name, want := range map[events.AggregateName]string{
		events.StateEntry("a", "k.l"): "k.l", events.EntryConflicts("a", "k"): "k", events.Config("a", "k.l"): "k.l",
		events.Lifecycle("a"): "", events.Task("state"): "", events.Sent("a"): "", "agent.a.other.k": "", "agent.a": "", "": "",
	} {
		if got := name.Key(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
