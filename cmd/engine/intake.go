package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
)

// startIntake begins to carry out what is enqueued, and to run the reactors.
func startIntake(e *engine) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	in, err := intake.Start(ctx, intake.Config{
		Subjects: natsio.NewSubjects(e.cfg.SubjectPrefix), Connect: e.lend,
		Send: e.handler.Send, Observe: e.metrics.answered,
		Reactors: e.reactors(), Journal: e.history(), Log: e.log,
	})
	if err != nil {
		return err
	}
	e.intake.Store(in)
	e.onStop(func(context.Context) { in.Close() })
	return nil
}

// lend opens a connection with the engine's rights for one who closes it.
func (e *engine) lend(name string) (*nats.Conn, error) {
	var opts []nats.Option
	if e.nats != nil {
		opts = e.nats.Options()
	}
	return natsio.Connect(e.natsURL, "tidemark-"+name, e.log, opts...)
}

// outcome answers queries.command.<id>.get.
func (e *engine) outcome(ctx context.Context, id string) ([]byte, error) {
	in := e.intake.Load()
	if in == nil {
		return nil, domain.Errorf(domain.Unavailable, "engine.starting", "the engine is starting; ask again")
	}
	return in.Outcome(ctx, id)
}
