package agent

import (
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Phase of an agent (contract, section 2).
type Phase string

const (
	Cold      Phase = "cold"      // nothing is loaded; the initial phase
	Hydrating Phase = "hydrating" // SQL rows are being loaded into KV
	Active    Phase = "active"    // in KV
	Flushing  Phase = "flushing"  // dirty keys are being written to SQL
	Expired   Phase = "expired"   // idle for the bucket's TTL; KV is empty
)

// Lifecycle is the state of an agent's lifecycle.
type Lifecycle struct {
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since,omitzero"`
	// From is the phase before a hydration, to which a failed one returns.
	From Phase `json:"from,omitempty"`
}

// Now is the phase; the zero Lifecycle is cold.
func (l Lifecycle) Now() Phase {
	if l.Phase == "" {
		return Cold
	}
	return l.Phase
}

// transitions is the contract's table: the phases that each event may follow, and
// the phase it leads to.
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
	events.Erased:           {[]Phase{Cold, Hydrating, Active, Flushing, Expired}, Cold},
	events.RevertStarted:    {[]Phase{Cold, Hydrating, Active, Flushing, Expired}, ""}, // stays
	events.Reverted:         {[]Phase{Cold, Hydrating, Active, Flushing, Expired}, ""},
}

// unchangedIn are the phases in which a command for an event changes nothing.
var unchangedIn = map[string][]Phase{
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
	case events.RevertStarted, events.Reverted: // its entries activate the agent, like other writes
		if next = l; l.Phase == "" {
			next.Phase, next.Since = Cold, ev.Timestamp
		}
	case events.HydrationStarted:
		next.From = l.Now()
	case events.HydrationFailed:
		if next.Phase = l.From; next.Phase == "" {
			next.Phase = Cold
		}
	}
	return next, nil
}

// Change is the command for a lifecycle event.
type Change struct {
	Agent string
	Type  string
	Data  events.LifecycleChange
	// Begun: this fork has copied entries before, so the agent is its own.
	Begun bool
}

// DecideLifecycle decides a change: unchanged if the agent is in that phase
// already, 422 agent.<phase> if the table has no such transition.
func DecideLifecycle(l Lifecycle, c Change, meta domain.Metadata) domain.Decision {
	phase := l.Now()
	for _, p := range unchangedIn[c.Type] {
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
	evs := []events.Event{{Type: c.Type, Aggregate: "agent", ID: c.Agent, Timestamp: meta.Now, Data: data}}
	if err := domain.CarryState(l, evs, EvolveLifecycle); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}
