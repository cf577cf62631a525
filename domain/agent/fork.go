package agent

import (
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Fork is the command to start an agent from the entries of another one.
type Fork struct {
	Agent   string
	Origin  events.Origin   // without the number of keys
	Entries []Copy          // of the origin as of then, by key
	Copied  map[string]bool // keys that this command copied before
	Foreign string          // a key of the agent that another command wrote; empty = none
	Reason  string
	Request string
}

// Copy is one entry of the origin as of then.
type Copy struct {
	Key       string
	Value     []byte
	Strategy  string
	Timestamp time.Time
	Writer    string
}

// DecideFork decides a fork: copies are the events of the entries still to copy,
// each the first of its aggregate; d is the agent's lifecycle event after them. A
// copied entry keeps value, timestamp and writer, so that a later write conflicts
// with it as it would have with the origin's. 404 agent.not_found if the origin
// had no entries, 422 agent.exists if the agent already exists.
func DecideFork(l Lifecycle, f Fork, meta domain.Metadata) (copies []events.Event, d domain.Decision) {
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
	}, meta)
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
