package agent_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// The table of the contract, section 2: phase, event, phase it leads to. What
// is already so is unchanged; every other pair is refused.
func TestLifecycleTransitions(t *testing.T) {
	const unchanged, refused = agent.Phase("unchanged"), agent.Phase("refused")
	phases := []agent.Phase{agent.Cold, agent.Hydrating, agent.Active, agent.Flushing, agent.Expired}
	for typ, to := range map[string][]agent.Phase{ // by the phases above
		events.HydrationStarted: {agent.Hydrating, unchanged, unchanged, unchanged, agent.Hydrating},
		events.Hydrated:         {refused, agent.Active, refused, refused, refused},
		events.HydrationFailed:  {refused, agent.Cold, refused, refused, refused},
		events.FlushStarted:     {refused, refused, agent.Flushing, unchanged, refused},
		events.Flushed:          {refused, refused, refused, agent.Active, refused},
		events.FlushFailed:      {refused, refused, refused, agent.Active, refused},
		events.Expired:          {refused, refused, agent.Expired, refused, unchanged},
		events.Forked:           {refused, refused, refused, refused, refused},
		events.Retired:          {unchanged, agent.Cold, agent.Cold, agent.Cold, agent.Cold},
	} {
		for i, phase := range phases {
			got := change(t, agent.Lifecycle{Phase: phase, From: agent.Cold}, typ)
			if got != to[i] {
				t.Errorf("%s when %s: %s, want %s", typ, phase, got, to[i])
			}
		}
	}
	for typ, want := range map[string]agent.Phase{events.HydrationStarted: agent.Hydrating, events.Forked: agent.Active} {
		if got := change(t, agent.Lifecycle{}, typ); got != want {
			t.Errorf("%s of an agent of whom nothing is known: %s", typ, got)
		}
	}
}

// A failed hydration leads back to where it began.
func TestAFailedHydrationGoesBack(t *testing.T) {
	for _, from := range []agent.Phase{"", agent.Cold, agent.Expired} {
		l := agent.Lifecycle{Phase: from}
		for _, typ := range []string{events.HydrationStarted, events.HydrationFailed} {
			d := agent.DecideLifecycle(l, agent.Change{Agent: "a1", Type: typ}, domain.Metadata{Now: now})
			var err error
			if l, err = domain.CarriedState[agent.Lifecycle](&d.Events[0]); err != nil {
				t.Fatal(err)
			}
		}
		if l.Now() != (agent.Lifecycle{Phase: from}).Now() || !l.Since.Equal(now) {
			t.Errorf("from %q back to %+v", from, l)
		}
	}
}

// change is the phase after an event, or what came of the command instead.
func change(t *testing.T, l agent.Lifecycle, typ string) agent.Phase {
	t.Helper()
	d := agent.DecideLifecycle(l, agent.Change{Agent: "a1", Type: typ}, domain.Metadata{Now: now})
	switch {
	case d.Refusal != nil:
		if d.Refusal.Kind != domain.Rejected || d.Refusal.Details["phase"] != string(l.Now()) {
			t.Errorf("refused with %+v", d.Refusal)
		}
		return "refused"
	case d.Outcome == domain.Unchanged && len(d.Events) == 0:
		return "unchanged"
	}
	next, err := domain.CarriedState[agent.Lifecycle](&d.Events[0])
	if err != nil || d.Outcome != domain.Accepted || d.Events[0].Type != typ || next.Since != now {
		t.Errorf("%+v, %v", d, err)
	}
	return next.Phase
}
