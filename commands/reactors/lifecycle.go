package reactors

import (
	"context"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Hydrator moves a whole agent between the tiers.
type Hydrator interface {
	Hydrate(ctx context.Context, agent string) (keys []string, err error)
	Flush(ctx context.Context, agent string) (keys []string, revision uint64, err error)
}

// lifecycleSubjects match lifecycle events below the journal's root.
var lifecycleSubjects = []string{"agent.*.lifecycle"}

// Hydrate loads an agent into KV after HydrationStarted and sends the outcome.
func Hydrate(h Hydrator) Reactor {
	return Reactor{
		Name: "hydrate", Types: []string{events.HydrationStarted}, Subjects: lifecycleSubjects,
		React: func(ctx context.Context, rec events.Record, send Send) error {
			// gofail: var hydrateBegin struct{}
			// return context.DeadlineExceeded
			keys, err := h.Hydrate(ctx, rec.ID)
			if err != nil {
				return sendOutcome(ctx, send, "hydrate", &rec, "hydration_failed", commands.Outcome{Reason: domain.PublicText(err)})
			}
			// gofail: var hydrateDone struct{}
			// return context.DeadlineExceeded
			return sendOutcome(ctx, send, "hydrate", &rec, "hydrated", commands.Outcome{Keys: keys})
		},
	}
}

// Flush writes an agent's dirty keys to SQL after FlushStarted and sends the
// outcome.
func Flush(h Hydrator) Reactor {
	return Reactor{
		Name: "flush", Types: []string{events.FlushStarted}, Subjects: lifecycleSubjects,
		React: func(ctx context.Context, rec events.Record, send Send) error {
			// gofail: var flushBegin struct{}
			// return context.DeadlineExceeded
			keys, revision, err := h.Flush(ctx, rec.ID)
			if err != nil {
				return sendOutcome(ctx, send, "flush", &rec, "flush_failed", commands.Outcome{Reason: domain.PublicText(err)})
			}
			// gofail: var flushDone struct{}
			// return context.DeadlineExceeded
			return sendOutcome(ctx, send, "flush", &rec, "flushed", commands.Outcome{Keys: keys, Revision: revision})
		},
	}
}

// sendOutcome sends the command that ends what rec started. A refusal means
// that the agent no longer waits for it, for example after a retirement.
func sendOutcome(ctx context.Context, send Send, reactor string, rec *events.Record, verb string, o commands.Outcome) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = send(ctx, commands.Request{
		Aggregate: "agent", ID: rec.ID, Verb: verb, Internal: true,
		CommandID: CommandID(reactor, rec), Body: body,
	})
	return ignoreRefusal(err)
}
