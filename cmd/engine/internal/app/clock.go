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
	expired, err := k.recover(ctx)
	if err != nil && ctx.Err() == nil {
		k.log.Warn("cannot read which agents and sessions were active; until then they expire only after their next activity", "error", err, "retry_in", recoverPause)
	}
	reviving.Go(func() {
		for err != nil && wait.Sleep(ctx, recoverPause) == nil {
			expired, err = k.recover(ctx)
		}
		k.revive(ctx, expired)
	})
	k.commands.activity.Run(ctx)
}

// recover reads which agents and sessions were active, goes on with what waits for a reactor, and
// returns the agents that were expired.
func (k *clock) recover(ctx context.Context) (expired []events.Record, err error) {
	var open []events.Record
	for _, pattern := range []events.AggregateName{"agent.*.lifecycle", "session.*"} {
		err = errors.Join(err, k.journal.history.EachLast(ctx, pattern, func(rec events.Record) {
			k.commands.activity.Recover(&rec)
			if isOpen(&rec) {
				open = append(open, rec)
			}
			if rec.Type == events.Expired {
				expired = append(expired, rec)
			}
		}))
	}
	k.resume(ctx, open)
	return expired, err
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

// resumeOpen is resume for all agents.
func (k *clock) resumeOpen(ctx context.Context) error {
	var open []events.Record
	err := k.journal.history.EachLast(ctx, "agent.*.lifecycle", func(rec events.Record) {
		if isOpen(&rec) {
			open = append(open, rec)
		}
	})
	k.resume(ctx, open)
	return err
}

// isOpen reports whether an agent's last lifecycle event waits for a reactor.
func isOpen(rec *events.Record) bool {
	return rec.Type == events.HydrationStarted || rec.Type == events.FlushStarted
}

// resume gives the reactors the hydrations and flushes that had not ended before
// this start. Their events may be in no consumer any more, for example after an
// import. Where they are in one, both reactions use the same command id.
func (k *clock) resume(ctx context.Context, open []events.Record) {
	for _, rec := range open {
		for _, r := range k.reactors {
			if !slices.Contains(r.Types, rec.Type) || ctx.Err() != nil {
				continue
			}
			if err := r.React(ctx, rec, k.commands.send); err != nil {
				k.log.Warn("cannot resume an agent's hydration or flush; the next start retries", "agent", rec.ID, "type", rec.Type, "error", err)
			}
		}
	}
}
