package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// clock sends the commands that the passing of time causes: due timers, silent
// agents, ended sessions.
type clock struct {
	commands *commandSide
	journal  *journalReader
	timers   *coordination.Timers
	remind   *reactors.Reminders
	reactors []reactors.Reactor // process managers that run on the journal's events
	end      func(context.Context)
	log      *slog.Logger
}

func startClock(nats *servers.NATS, j *journalReader, c *commandSide, m *readModel, fired func(string, time.Duration), rate func(string) error) (*clock, error) {
	nc, err := nats.Connect("time")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	k := &clock{commands: c, journal: j, log: nats.Log}
	if k.timers, err = coordination.OpenTimers(ctx, nc, nats.Subjects, nats.Log); err != nil {
		return nil, err
	}
	last := func(ctx context.Context, name events.AggregateName) (events.Record, bool, error) {
		return j.history.Last(ctx, name, history.Linearizable)
	}
	k.remind = &reactors.Reminders{Last: last, Timers: k.timers, Send: c.send, Now: time.Now, Since: time.Now(), Near: true, Fired: fired, Rate: rate, Log: nats.Log}
	k.reactors = []reactors.Reactor{reactors.Hydrate(m.hydrator), reactors.Flush(m.hydrator), reactors.Deadline(k.timers), reactors.ClaimLease(k.timers), k.remind.Reactor()}
	if err := k.timers.Watch(func(ctx context.Context, name string) error {
		if mine, err := k.remind.Due(ctx, name); mine {
			return err
		}
		return reactors.Due(ctx, last, k.timers, c.send, time.Now, name)
	}); err != nil {
		return nil, err
	}
	root := nats.Subjects.Root("agents.heartbeat.")
	if _, err := nc.Subscribe(root+"*", func(m *natsgo.Msg) { c.activity.Heartbeat(m.Subject[len(root):]) }); err != nil {
		k.timers.Stop()
		return nil, err
	}
	k.end = lifecycle.InBackground(k.run)
	return k, nil
}

func (k *clock) stop(ctx context.Context) {
	k.end(ctx)
	k.timers.Stop()
	k.remind.Stop()
}

// run recovers what was active before this start, and then keeps time.
func (k *clock) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { k.commands.tasks.Run(ctx) })
	k.keepTime(ctx)
}

// recoverPause is the time between two attempts to read what was active before this start: the
// journal may not answer, nor the archive where the journal is trimmed.
const recoverPause = 5 * time.Second

func (k *clock) keepTime(ctx context.Context) {
	var reviving sync.WaitGroup
	defer reviving.Wait()
	found, err := k.recover(ctx)
	if err != nil && ctx.Err() == nil {
		k.log.Warn("cannot read which agents and sessions were active; until then they expire only after their next activity", "error", err, "retry_in", recoverPause)
	}
	resume := func(open []events.Record) { reviving.Go(func() { k.resume(ctx, open) }) } // it may take long
	resume(found.open)
	reviving.Go(func() {
		for err != nil && wait.Sleep(ctx, recoverPause) == nil {
			if found, err = k.recover(ctx); err == nil {
				resume(found.open)
			}
		}
		k.revive(ctx, found.expired)
	})
	k.commands.activity.Run(ctx)
}

// recovered are the last lifecycle events of the agents that were expired, and of those that
// wait for a reactor.
type recovered struct{ expired, open []events.Record }

// recover reads which agents and sessions were active, and what is to be done for the others.
func (k *clock) recover(ctx context.Context) (found recovered, err error) {
	for _, pattern := range []events.AggregateName{"agent.*.lifecycle", "session.*"} {
		err = errors.Join(err, k.journal.history.EachLast(ctx, pattern, func(rec events.Record) {
			k.commands.activity.Recover(&rec)
			if isOpen(&rec) {
				found.open = append(found.open, rec)
			}
			if rec.Type == events.Expired {
				found.expired = append(found.expired, rec)
			}
		}))
	}
	return found, err
}

// revive touches the agents that were written after they expired, because the engine
// that took the write may have stopped before it could.
func (k *clock) revive(ctx context.Context, expired []events.Record) {
	for _, rec := range expired {
		n, err := k.journal.history.Changed(ctx, events.AgentStates(rec.ID), rec.Revision)
		for err != nil {
			if wait.Sleep(ctx, recoverPause) != nil {
				return
			}
			n, err = k.journal.history.Changed(ctx, events.AgentStates(rec.ID), rec.Revision)
		}
		if n > 0 {
			k.commands.written(rec.ID, 0)
		}
	}
}

// rearm sets the timers of all unfinished tasks and reminders and of held claims again.
func (k *clock) rearm(ctx context.Context) (n int, err error) {
	var failed error
	for _, pattern := range reactors.Timed {
		err := k.journal.history.EachLast(ctx, pattern, func(rec events.Record) {
			if failed != nil {
				return // each attempt may wait for its timeout
			}
			set, err := reactors.Rearm(ctx, k.timers, &rec)
			if failed = err; set {
				n++
			}
		})
		failed = errors.Join(failed, err)
	}
	return n, failed
}

// resumeOpen gives the reactors what waits for one, of all agents.
func (k *clock) resumeOpen(ctx context.Context) error {
	var open []events.Record
	err := k.journal.history.EachLast(ctx, "agent.*.lifecycle", func(rec events.Record) {
		if isOpen(&rec) {
			open = append(open, rec)
		}
	})
	_, failed := k.react(ctx, open)
	return errors.Join(err, failed)
}

// isOpen reports whether an agent's last lifecycle event waits for a reactor.
func isOpen(rec *events.Record) bool {
	return rec.Type == events.HydrationStarted || rec.Type == events.FlushStarted
}

// resume gives the reactors the hydrations and flushes that had not ended before this start,
// again and again until each has been handled.
func (k *clock) resume(ctx context.Context, open []events.Record) {
	for pause := recoverPause; ; pause = min(2*pause, time.Minute) {
		var err error
		if open, err = k.react(ctx, open); len(open) == 0 || ctx.Err() != nil {
			return
		}
		k.log.Warn("cannot resume the hydration or flush of agents", "agents", len(open), "error", err, "retry_in", pause)
		if wait.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// react gives the reactors lifecycle events that wait for one, and returns those that failed,
// or that ctx left no time for: a reactor would report its end as a failure. The events may be in no consumer any more, for example after an import. Where they are in
// one, both reactions use the same command id.
func (k *clock) react(ctx context.Context, open []events.Record) (left []events.Record, err error) {
	for i, rec := range open {
		if ctx.Err() != nil {
			return append(left, open[i:]...), context.Cause(ctx)
		}
		for _, r := range k.reactors {
			if !slices.Contains(r.Types, rec.Type) {
				continue
			}
			if failed := r.React(ctx, rec, k.commands.send); failed != nil {
				left, err = append(left, rec), failed
			}
		}
	}
	return left, err
}
