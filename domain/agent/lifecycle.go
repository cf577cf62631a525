package agent

import (
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Phase of an agent (the seed's LifecycleState).
type Phase string

const (
	Cold      Phase = "cold"      // nothing loaded; where every agent begins
	Hydrating Phase = "hydrating" // SQL rows are on their way into KV
	Active    Phase = "active"    // in KV
	Flushing  Phase = "flushing"  // dirty keys are on their way into SQL
	Expired   Phase = "expired"   // idle for the bucket's TTL; KV is empty
)

// Lifecycle is the fold of an agent's lifecycle events.
type Lifecycle struct {
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since,omitzero"`
	// From is where a hydration began, for a failed one returns there.
	From Phase `json:"from,omitempty"`
}

// Now is the phase; the zero Lifecycle is cold.
func (l Lifecycle) Now() Phase {
	if l.Phase == "" {
		return Cold
	}
	return l.Phase
}

// transitions is the contract's table: the phase each event leads to, and those
// it may follow.
var transitions = map[string]struct {
	from []Phase
	to   Phase
}{
	events.HydrationStarted: {[]Phase{Cold, Expired}, Hydrating},
	events.Hydrated:         {[]Phase{Hydrating}, Active},
	events.HydrationFailed:  {[]Phase{Hydrating}, ""}, // back to From
	events.FlushStarted:     {[]Phase{Active}, Flushing},
	events.Flushed:          {[]Phase{Flushing}, Active},
	events.FlushFailed:      {[]Phase{Flushing}, Active},
	events.Expired:          {[]Phase{Active}, Expired},
	events.Retired:          {[]Phase{Cold, Hydrating, Active, Flushing, Expired}, Cold},
	events.Forked:           {[]Phase{Cold, Hydrating, Active, Flushing, Expired}, Active},
}

// already maps an event to the phases in which asking for it changes nothing.
var already = map[string][]Phase{
	events.HydrationStarted: {Hydrating, Active, Flushing},
	events.FlushStarted:     {Flushing},
	events.Expired:          {Expired},
	events.Retired:          {Cold},
}

// EvolveLifecycle is the lifecycle after one more event. Unknown types change
// nothing.
func EvolveLifecycle(l Lifecycle, ev *events.Event) (Lifecycle, error) {
	t, ok := transitions[ev.Type]
	if !ok {
		return l, nil
	}
	next := Lifecycle{Phase: t.to, Since: ev.Timestamp}
	switch ev.Type {
	case events.HydrationStarted:
		next.From = l.Now()
	case events.HydrationFailed:
		if next.Phase = l.From; next.Phase == "" {
			next.Phase = Cold
		}
	}
	return next, nil
}

// Change asks for a lifecycle event.
type Change struct {
	Agent string
	Type  string
	Data  events.LifecycleChange
	// Begun, of a fork: entries that it copied are there, so the agent is its own.
	Begun bool
}

// DecideLifecycle answers a change: unchanged where it is so already, 422
// agent.<phase> where the table says no.
func DecideLifecycle(l Lifecycle, c Change, ask domain.Ask) domain.Decision {
	phase := l.Now()
	for _, p := range already[c.Type] {
		if p == phase {
			return domain.Decision{Outcome: domain.Unchanged}
		}
	}
	if c.Type == events.Forked && l.Phase != "" && !c.Begun {
		return domain.Refuse(exists(c.Agent, "it has a lifecycle").With("phase", string(phase)))
	}
	allowed := false
	for _, p := range transitions[c.Type].from {
		allowed = allowed || p == phase
	}
	if !allowed {
		return domain.Refuse(domain.Errorf(domain.Rejected, "agent."+string(phase),
			"agent %s is %s: %s cannot follow", c.Agent, phase, c.Type).With("phase", string(phase)))
	}
	data, err := domain.Encode(c.Data)
	if err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
	}
	evs := []events.Event{{Type: c.Type, Aggregate: "agent", ID: c.Agent, Timestamp: ask.Now, Data: data}}
	if err := domain.Carry(l, evs, EvolveLifecycle); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}
