package commands

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// Evictor removes an agent from the hot tier.
type Evictor interface {
	// Evict flushes the agent's dirty keys, removes all its keys from the hot tier
	// and returns them.
	Evict(ctx context.Context, agent string) ([]string, error)
	// Keep puts what the hot tier lacks of an active agent.
	Keep(ctx context.Context, agent string) error
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

// bindLifecycle binds a change to the agent's lifecycle. When an expiry is
// allowed, the agent is first flushed and evicted, and the event names the keys.
func bindLifecycle(id, typ string, data events.LifecycleChange) Command {
	c := &agent.Change{Agent: id, Type: typ, Data: data}
	cmd := bind("agent", id, "", events.Lifecycle(id), request{print: data.Request}, lifecycleFold, c,
		func(l agent.Lifecycle, c *agent.Change, ask domain.Metadata) domain.Decision {
			return agent.DecideLifecycle(l, *c, ask)
		})
	if typ == events.Expired {
		cmd.prepare = func(ctx context.Context, h *Handler) error {
			if h.cfg.Evictor == nil {
				return nil
			}
			// gofail: var expireBegin struct{}
			// return domain.Errorf(domain.Unavailable, "agent.not_flushed", "failpoint")
			keys, err := h.cfg.Evictor.Evict(ctx, id)
			if err != nil {
				return domain.Errorf(domain.Unavailable, "agent.not_flushed", "agent %s cannot be flushed to SQL and does not expire: %s", id, domain.PublicText(err))
			}
			// gofail: var expireEvicted struct{}
			// return domain.Errorf(domain.Unavailable, "agent.not_flushed", "failpoint")
			c.Data.Keys, c.Data.More = bounded(keys)
			return nil
		}
		cmd.undo = func(ctx context.Context, h *Handler) {
			if h.cfg.Evictor != nil {
				_ = h.cfg.Evictor.Keep(ctx, id) // after a failure the keeper of active agents does it
			}
		}
	}
	return cmd
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
		if keys == nil && (typ == events.Hydrated || typ == events.Flushed) {
			keys = []string{}
		}
		return bindLifecycle(id, typ, events.LifecycleChange{
			Reason: in.Reason, Keys: keys, More: more, Revision: in.Revision, Request: fingerprint(typ),
		}), nil
	}
}

// maxKeyBytes bounds the names of the keys in one lifecycle event.
const maxKeyBytes = 128 << 10

// bounded are the keys that fit into an event, and the number of the others.
func bounded(keys []string) ([]string, int) {
	n := 0
	for i, key := range keys {
		if n += len(key) + 3; n > maxKeyBytes {
			return keys[:i], len(keys) - i
		}
	}
	return keys, 0
}
