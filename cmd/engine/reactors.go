package main

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
)

// reactors are the process managers that run on the journal's events.
func (e *engine) reactors() []reactors.Reactor {
	return []reactors.Reactor{
		reactors.Hydrate(e.keeper),
		reactors.Flush(e.keeper),
		reactors.Deadline(e.timers),
	}
}

// newActivity keeps time for agents and sessions.
func (e *engine) newActivity() *reactors.Activity {
	ttl := e.cfg.IdleTTL
	if e.cfg.Lifecycle == "manual" {
		ttl = 0
	}
	send := func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
		return e.handler.Send(ctx, req)
	}
	return reactors.NewActivity(ttl, send, func() time.Time { return time.Now().UTC() }, e.log)
}

// touched notes that an agent's entries were written, or read from below KV.
func (e *engine) touched(agent string) {
	if e.cfg.Lifecycle == "auto" {
		e.activity.Touch(agent)
	}
}

// startTime starts what time brings about: timers, silence, sessions' ends.
func (e *engine) startTime() error {
	nc, err := e.connect("time")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	subjects := natsio.NewSubjects(e.cfg.SubjectPrefix)
	if e.timers, err = coordination.OpenTimers(ctx, nc, subjects, e.log); err != nil {
		return err
	}
	if err := e.timers.Watch(func(ctx context.Context, name string, body []byte) error {
		return reactors.Due(ctx, e.handler.Send, name, string(body))
	}); err != nil {
		return err
	}
	e.onStop(func(context.Context) { e.timers.Stop() })
	root := subjects.Root("agents.heartbeat.")
	if _, err := nc.Subscribe(root+"*", func(m *nats.Msg) { e.activity.Heartbeat(m.Subject[len(root):]) }); err != nil {
		return err
	}
	e.runActivity()
	return nil
}

// runActivity finds again what was alive before this start, and then keeps time.
func (e *engine) runActivity() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var open []events.Record
		for _, pattern := range []events.Stream{"agent.*.lifecycle", "session.*"} {
			err := e.journal.EachLast(ctx, pattern, func(rec events.Record) {
				e.activity.Recover(&rec)
				if rec.Type == events.HydrationStarted || rec.Type == events.FlushStarted {
					open = append(open, rec)
				}
			})
			if err != nil && ctx.Err() == nil {
				e.log.Warn("agents and sessions of before this start expire only once they are heard of again", "error", err)
			}
		}
		e.takeUp(ctx, open)
		e.activity.Run(ctx)
	}()
	e.onStop(func(context.Context) {
		cancel()
		<-done
	})
}

// takeUp has reactors take what was begun before this start and is not done: it
// may be in no consumer any more, as after an import. Where it is in one, both
// ask with the same command id.
func (e *engine) takeUp(ctx context.Context, open []events.Record) {
	for _, rec := range open {
		for _, r := range e.reactors() {
			if !slices.Contains(r.Types, rec.Type) || ctx.Err() != nil {
				continue
			}
			if err := r.React(ctx, rec, e.handler.Send); err != nil {
				e.log.Warn("what an agent had begun is not taken up; a later start tries again", "agent", rec.ID, "type", rec.Type, "error", err)
			}
		}
	}
}
