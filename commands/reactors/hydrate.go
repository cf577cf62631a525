package reactors

import (
	"context"
	"errors"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Keeper moves a whole agent between the tiers.
type Keeper interface {
	Hydrate(ctx context.Context, agent string) (keys []string, err error)
	Flush(ctx context.Context, agent string) (keys []string, revision uint64, err error)
}

// Hydrate loads an agent into KV once its hydration has started, and says what
// came of it.
func Hydrate(k Keeper) Reactor {
	return Reactor{
		Name: "hydrate", Types: []string{events.HydrationStarted}, Subjects: lifecycleSubjects,
		React: func(ctx context.Context, rec events.Record, send Send) error {
			keys, err := k.Hydrate(ctx, rec.ID)
			if err != nil {
				return tell(ctx, send, "hydrate", &rec, "hydration_failed", commands.Outcome{Reason: err.Error()})
			}
			return tell(ctx, send, "hydrate", &rec, "hydrated", commands.Outcome{Keys: keys})
		},
	}
}

// Flush brings an agent's dirty keys into SQL once its flush has started, and
// says what came of it.
func Flush(k Keeper) Reactor {
	return Reactor{
		Name: "flush", Types: []string{events.FlushStarted}, Subjects: lifecycleSubjects,
		React: func(ctx context.Context, rec events.Record, send Send) error {
			keys, revision, err := k.Flush(ctx, rec.ID)
			if err != nil {
				return tell(ctx, send, "flush", &rec, "flush_failed", commands.Outcome{Reason: err.Error()})
			}
			return tell(ctx, send, "flush", &rec, "flushed", commands.Outcome{Keys: keys, Revision: revision})
		},
	}
}

// lifecycleSubjects are where lifecycle events are, behind the journal's root.
var lifecycleSubjects = []string{"agent.*.lifecycle"}

// tell sends the outcome of what an event started. A refusal means that the
// agent has gone on without it, by a retirement perhaps: there is nothing left
// to tell.
func tell(ctx context.Context, send Send, reactor string, rec *events.Record, verb string, o commands.Outcome) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = send(ctx, commands.Request{
		Aggregate: "agent", ID: rec.ID, Verb: verb, Internal: true,
		CommandID: CommandID(reactor, rec), Body: body,
	})
	return settled(err)
}

// settled keeps the errors that a later delivery may cure.
func settled(err error) error {
	var known *domain.Error
	if errors.As(err, &known) {
		switch known.Kind {
		case domain.Unavailable, domain.Overloaded, domain.Internal:
			return err
		}
		return nil
	}
	return err
}
