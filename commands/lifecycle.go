package commands

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// Evictor flushes an agent and takes it out of the hot tier, before its expiry
// becomes an event. It returns the keys that were there.
type Evictor interface {
	Evict(ctx context.Context, agent string) ([]string, error)
}

// readLifecycle reads the lifecycle verbs of an agent.
func readLifecycle(name, typ string) verb {
	return func(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
		var in struct {
			Reason string `json:"reason"`
		}
		if err := domain.DecodeBody(body, &in); err != nil {
			return Command{}, err
		}
		if err := domain.CheckAgentID(id); err != nil {
			return Command{}, err
		}
		return bindLifecycle(id, typ, events.LifecycleChange{Reason: in.Reason, Request: fingerprint(name, in.Reason)}), nil
	}
}

// bindLifecycle ties a change to the agent's lifecycle. An expiry is prepared:
// the agent is flushed and evicted once it is clear that it may expire, and the
// event names the keys.
func bindLifecycle(id, typ string, data events.LifecycleChange) Command {
	c := &agent.Change{Agent: id, Type: typ, Data: data}
	cmd := bind("agent", id, "", events.Lifecycle(id), data.Request, lifecycleFold, c,
		func(l agent.Lifecycle, c *agent.Change, ask domain.Ask) domain.Decision {
			return agent.DecideLifecycle(l, *c, ask)
		})
	if typ == events.Expired {
		cmd.prepare = func(ctx context.Context, h *Handler) error {
			if h.cfg.Evictor == nil {
				return nil
			}
			keys, err := h.cfg.Evictor.Evict(ctx, id)
			if err != nil {
				return domain.Errorf(domain.Unavailable, "agent.not_flushed", "agent %s stays as it is: %v", id, err)
			}
			c.Data.Keys, c.Data.More = bounded(keys)
			return nil
		}
	}
	return cmd
}

// internal are the verbs that only the engine itself may send: what came of a
// hydration or a flush, and the expiry of a session.
var internal = map[string]map[string]verb{
	"agent": {
		"hydrated": readOutcome(events.Hydrated), "hydration_failed": readOutcome(events.HydrationFailed),
		"flushed": readOutcome(events.Flushed), "flush_failed": readOutcome(events.FlushFailed),
	},
	"session": {"expire": readSessionPlain("expire", events.SessionExpired)},
}

// Outcome is the body of the internal lifecycle verbs.
type Outcome struct {
	Reason   string   `json:"reason,omitempty"`
	Keys     []string `json:"keys,omitempty"`
	Revision uint64   `json:"revision,omitzero"`
}

func readOutcome(typ string) verb {
	return func(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
		var in Outcome
		if err := json.Unmarshal(body, &in); err != nil {
			return Command{}, err
		}
		keys, more := bounded(in.Keys)
		return bindLifecycle(id, typ, events.LifecycleChange{
			Reason: in.Reason, Keys: keys, More: more, Revision: in.Revision, Request: fingerprint(typ),
		}), nil
	}
}

// maxKeyBytes bounds the keys that one lifecycle event names.
const maxKeyBytes = 128 << 10

// bounded are the keys that fit into an event, and how many do not.
func bounded(keys []string) ([]string, int) {
	n := 0
	for i, key := range keys {
		if n += len(key) + 3; n > maxKeyBytes {
			return keys[:i], len(keys) - i
		}
	}
	return keys, 0
}
