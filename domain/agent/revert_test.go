package agent_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// A revert leads to the state that it names, whatever the entry is and whatever its
// timestamp; a second one changes nothing; a later write without a timestamp wins.
func TestRevertLeadsToItsState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e agent.Entry
		for range rapid.IntRange(1, 4).Draw(t, "writes") {
			e = after(t, e, drawWrite(t))
		}
		w := agent.Write{Agent: "a1", Key: "k", Request: "r", Reverted: &events.Reversion{Version: 1, Revision: 7}}
		if w.Delete = rapid.Bool().Draw(t, "deletes"); !w.Delete {
			w.Value = drawValue(t)
		}
		d := agent.DecideEntry(e, w, domain.Metadata{Now: now, CommandID: "0"})
		if e.Version == 0 {
			if d.Refusal == nil || d.Refusal.Code != "state.not_found" {
				t.Fatalf("an entry that was never written: %+v", d)
			}
			return
		}
		already := e.Exists != w.Delete && bytes.Equal(e.Value, w.Value)
		if already != (d.Outcome == domain.Unchanged) || d.Refusal != nil || d.Loss != nil {
			t.Fatalf("%+v on %+v: %+v", w, e, d)
		}
		next := after(t, e, w)
		if next.Exists == w.Delete || !bytes.Equal(next.Value, w.Value) || next.Timestamp.Before(e.Timestamp) {
			t.Fatalf("%+v became %+v", e, next)
		}
		if d := agent.DecideEntry(next, w, domain.Metadata{Now: now}); d.Outcome != domain.Unchanged {
			t.Fatalf("again: %+v", d)
		}
		set := agent.Write{Agent: "a1", Key: "k", Value: []byte("7"), Strategy: agent.Timestamp}
		if d := agent.DecideEntry(next, set, domain.Metadata{Now: now}); d.Outcome != domain.Accepted {
			t.Fatalf("a later write: %+v", d)
		}
	})
}

// after is the entry after a write, if it takes effect.
func after(t *rapid.T, e agent.Entry, w agent.Write) agent.Entry {
	d := agent.DecideEntry(e, w, domain.Metadata{Now: now, CommandID: "c"})
	for i := range d.Events {
		d.Events[i].Version = e.Version + 1
		var err error
		if e, err = agent.EvolveEntry(e, &d.Events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// The events of a revert leave the phase, since when, and where a hydration began.
func TestRevertKeepsThePhase(t *testing.T) {
	for _, phase := range []agent.Phase{"", agent.Cold, agent.Hydrating, agent.Active, agent.Flushing, agent.Expired} {
		for _, typ := range []string{events.RevertStarted, events.Reverted} {
			l := agent.Lifecycle{Phase: phase, Since: now.Add(-1), From: agent.Cold}
			if phase == "" {
				l = agent.Lifecycle{}
			}
			d := agent.DecideLifecycle(l, agent.Change{Agent: "a1", Type: typ}, domain.Metadata{Now: now})
			next, err := domain.CarriedState[agent.Lifecycle](&d.Events[0])
			if phase == "" {
				l = agent.Lifecycle{Phase: agent.Cold, Since: now}
			}
			if err != nil || next != l {
				t.Errorf("%s when %q: %+v, %v", typ, phase, next, err)
			}
		}
	}
}
