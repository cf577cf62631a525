package agent

import (
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Fork asks to start an agent from what another one had.
type Fork struct {
	Agent   string
	Origin  events.Origin   // without the number of keys
	Entries []Copy          // that the origin had then, by key
	Copied  map[string]bool // keys that this very command has copied before
	Foreign string          // a key of the agent that something else wrote; empty = none
	Reason  string
	Request string
}

// Copy is one entry of the origin as it was then.
type Copy struct {
	Key       string
	Value     []byte
	Strategy  string
	Timestamp time.Time
	Writer    string
}

// DecideFork answers a fork with the events of the entries that are still to
// be copied, each the first of its own stream, and what becomes of the agent's
// lifecycle once they are. A copied entry keeps value, timestamp and writer,
// so that a later write meets it as it would have met the origin's. 404
// agent.not_found where the origin had nothing, 422 agent.exists where the
// agent is somebody else's.
func DecideFork(l Lifecycle, f Fork, ask domain.Ask) (copies []events.Event, d domain.Decision) {
	switch {
	case f.Foreign != "":
		return nil, domain.Refuse(exists(f.Agent, "it has the key "+f.Foreign))
	case len(f.Entries) == 0:
		return nil, domain.Refuse(domain.Errorf(domain.NotFound, "agent.not_found", "agent %s had no entries then", f.Origin.Agent))
	}
	origin := f.Origin
	origin.Keys = len(f.Entries)
	d = DecideLifecycle(l, Change{
		Agent: f.Agent, Type: events.Forked, Begun: len(f.Copied) > 0,
		Data: events.LifecycleChange{Reason: f.Reason, Origin: &origin, Request: f.Request},
	}, ask)
	if d.Refusal != nil {
		return nil, d
	}
	from, err := f.Origin.Encode()
	if err != nil {
		return nil, domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
	}
	for _, c := range f.Entries {
		if f.Copied[c.Key] {
			continue
		}
		w := events.StateWrite{Value: c.Value, Strategy: c.Strategy, Request: f.Request, Origin: from}
		copies = append(copies, events.Event{
			Type: events.StateSet, Aggregate: "agent", ID: f.Agent, Key: c.Key,
			Timestamp: c.Timestamp, Writer: c.Writer, Data: w.Encode(),
		})
	}
	return copies, d
}

func exists(agent, why string) *domain.Error {
	return domain.Errorf(domain.Rejected, "agent.exists", "agent %s exists: %s", agent, why)
}
