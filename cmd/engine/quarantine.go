package main

import (
	"context"

	"github.com/tidemark-engine/tidemark/events"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
)

// openQuarantine opens what the views leave out, and follows it.
func (e *engine) openQuarantine(ctx context.Context) error {
	nc, err := e.connect("quarantine")
	if err != nil {
		return err
	}
	if e.holds, err = natsquarantine.Open(ctx, nc, e.log); err != nil {
		return err
	}
	stop := inBackground(e.holds.Follow)
	e.onStop(func(context.Context) { stop() })
	return nil
}

// leaves tells of the aggregates that a view leaves out.
func (e *engine) leaves(view string) func(int, events.Stream) bool {
	return func(p int, s events.Stream) bool { return e.holds.Holds(view, p, s) }
}
