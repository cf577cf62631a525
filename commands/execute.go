package commands

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// executeNext executes the first commands of an aggregate's queue and returns
// how many: several with one append where that is possible and faster, else one.
func (h *Handler) executeNext(queue []*job) int {
	if n := h.executeGroup(queue); n > 0 {
		return n
	}
	j := queue[0]
	ctx, cancel := context.WithDeadline(j.ctx, j.deadline)
	defer cancel()
	if j.cmd.long {
		j.finish(h.executeLong(ctx, &j.cmd, j.unsure))
	} else {
		j.finish(h.executeOne(ctx, &j.cmd, j.unsure))
	}
	return 1
}

// executeOne executes a command. A panic, which is a defect of the engine, fails
// this command only.
func (h *Handler) executeOne(ctx context.Context, cmd *Command, unsure bool) (r Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			h.heads.drop(cmd.Name)
			r, err = Receipt{}, fmt.Errorf("panic while executing %s on %s: %v\n%s", cmd.CommandID, cmd.Name, p, debug.Stack())
		}
	}()
	return cmd.run(h, ctx, cmd, unsure)
}

// execute is the write side: load, dedup, decide, append; after a conflict load
// and decide again. unsure: an append of this command may have been stored.
func (h *Handler) execute(ctx context.Context, cmd *Command, unsure bool) (r Receipt, err error) {
	if ctx.Err() != nil {
		return Receipt{}, domain.Errorf(domain.Unavailable, "engine.late",
			"the command waited too long behind others of its aggregate and was not executed; send it again")
	}
	err = h.retry(ctx, cmd.computes, unsure, func(unsure bool) (err error) {
		if r, err = h.attempt(ctx, cmd, unsure); errors.Is(err, history.ErrOutcomeUnknown) {
			h.heads.drop(cmd.Name)
			h.heads.drop(cmd.Losers)
		}
		return err
	})
	if err != nil {
		h.undo(ctx, cmd)
	}
	return r, err
}

// undoTimeout bounds the undoing of a preparation.
const undoTimeout = 10 * time.Second

// undo undoes what the preparation of a failed command has done.
func (h *Handler) undo(ctx context.Context, cmd *Command) {
	if !cmd.prepared || cmd.undo == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	cmd.undo(ctx, h)
}

// attempt executes a command once. It fails with history.ErrConflict or
// ErrOutcomeUnknown when it must be attempted again.
func (h *Handler) attempt(ctx context.Context, cmd *Command, unsure bool) (Receipt, error) {
	h.dropValueless(cmd)
	deciding := h.cfg.Trace.Begin(cmd.trace, spanDecide)
	defer deciding.End()
	last, err := h.load(ctx, cmd.Name, cmd.fold)
	if err != nil {
		return Receipt{}, unavailable(err, unsure)
	}
	if cmd.guard != nil {
		if refused := cmd.guard(last.state); refused != nil {
			if err := h.withdraw(ctx, cmd); err != nil {
				return Receipt{}, err
			}
			if err := h.confirm(ctx, cmd.Name, last); err != nil {
				return Receipt{}, err
			}
			return Receipt{}, refused
		}
	}
	now := h.cfg.Now()
	if r, found, err := h.dedup(ctx, cmd, last, now, unsure); found || err != nil {
		return r, err
	}
	if err := cmd.lookUp(ctx, h); err != nil {
		if refusal(err) {
			if err := h.withdraw(ctx, cmd); err != nil {
				return Receipt{}, err
			}
		}
		if r, found, err := h.dedupHistory(ctx, cmd, last, now); found || err != nil {
			return r, err
		}
		return Receipt{}, unavailable(err, unsure)
	}
	d := cmd.decide(last.state, domain.Metadata{Now: now, CommandID: cmd.CommandID, Actor: cmd.actor, Revision: last.revision, Version: last.version})
	deciding.Int("tidemark.events", int64(len(d.Events)))
	deciding.End()
	// gofail: var commandDecided struct{}
	// return Receipt{}, history.ErrConflict
	if len(d.Events) > 0 {
		if cmd.prepare != nil {
			cmd.prepared = true
			if err := cmd.prepare(ctx, h); err != nil {
				return Receipt{}, err
			}
			cmd.prepare = nil
			return h.attempt(ctx, cmd, unsure)
		}
		next, replayed, err := h.append(ctx, cmd, cmd.Name, last, d.Events, cmd.fold, now)
		if err != nil || replayed != nil {
			return orEmpty(replayed), err
		}
		return h.receiptAt(cmd, d.Outcome, next, next.revision), nil
	}
	return h.answerWithoutEvents(ctx, cmd, last, &d, now)
}

// answerWithoutEvents answers a command that changes nothing, and records its losing write.
// No append compares the state that the answer rests on: the journal's leader confirms it.
func (h *Handler) answerWithoutEvents(ctx context.Context, cmd *Command, last *head, d *domain.Decision, now time.Time) (Receipt, error) {
	if d.Loss == nil {
		if err := h.withdraw(ctx, cmd); err != nil {
			return Receipt{}, err
		}
	}
	if err := h.confirm(ctx, cmd.Name, last); err != nil {
		return Receipt{}, err
	}
	if d.Loss != nil {
		losers, err := h.load(ctx, cmd.Losers, stateless)
		if err != nil {
			return Receipt{}, unavailable(err, false)
		}
		_, replayed, err := h.append(ctx, cmd, cmd.Losers, losers, []events.Event{*d.Loss}, stateless, now)
		if err != nil || replayed != nil {
			return orEmpty(replayed), err
		}
	} else if r, found, err := h.dedupHistory(ctx, cmd, last, now); found || err != nil {
		return r, err // the answer leaves no event that a later delivery would be compared with
	}
	if d.Refusal != nil {
		return Receipt{}, d.Refusal
	}
	return h.receipt(cmd, d.Outcome, last.version, last.revision), nil
}

func orEmpty(r *Receipt) Receipt {
	if r == nil {
		return Receipt{}
	}
	return *r
}

// confirm checks with the journal's leader that last is the aggregate's end;
// else ErrConflict.
func (h *Handler) confirm(ctx context.Context, name events.AggregateName, last *head) error {
	// gofail: var commandConfirm struct{}
	// return unavailable(context.DeadlineExceeded, false)
	rec, _, err := h.journal.Last(ctx, name, history.Linearizable)
	switch {
	case err != nil:
		return unavailable(err, false)
	case rec.Revision != last.revision:
		h.heads.drop(name)
		return history.ErrConflict
	}
	return nil
}

// completeOwn completes the events of a command and remembers them as its own.
func (h *Handler) completeOwn(ctx context.Context, evs []events.Event, last *head, cmd *Command, now time.Time) error {
	err := h.complete(ctx, evs, last, cmd, now)
	for i := range evs {
		cmd.tried = append(cmd.tried, evs[i].Digest)
	}
	return err
}

// complete sets version, digest and metadata of a command's events that follow last, and
// encrypts their content where encryption is on.
func (h *Handler) complete(ctx context.Context, evs []events.Event, last *head, cmd *Command, now time.Time) error {
	digest := last.digest
	for i := range evs {
		ev := &evs[i]
		ev.Version, ev.RecordedAt = last.version+uint64(i)+1, now
		ev.CommandID, ev.Actor, ev.Schema = cmd.CommandID, cmd.actor, events.Schema
		ev.TraceParent, ev.TraceState = cmd.trace.Parent, cmd.trace.State
		if h.cfg.Keys != nil {
			if err := setOutline(ev); err != nil {
				return domain.Errorf(domain.Internal, "event.fold", "%v", err)
			}
			if err := h.cfg.Keys.Seal(ctx, ev, ev.Version > 1 && (ev.Owner != "" || cmd.computes || cmd.reverts)); err != nil {
				return unavailable(err, false)
			}
		}
		var err error
		if digest, err = events.Chain(digest, ev); err != nil {
			return domain.Errorf(domain.Internal, "event.canonical", "%v", err)
		}
		ev.SetDigest(digest)
	}
	return nil
}

// append stores events after last and caches the new head. replayed is set when
// the journal knew the command: it is the first receipt.
func (h *Handler) append(ctx context.Context, cmd *Command, name events.AggregateName, last *head, evs []events.Event,
	fold func(*events.Event) (any, error), now time.Time) (next *head, replayed *Receipt, err error) {
	if err := h.completeOwn(ctx, evs, last, cmd, now); err != nil {
		return nil, nil, err
	}
	start := time.Now()
	// gofail: var appendBegin struct{}
	// return nil, nil, history.ErrConflict
	done, err := h.store(ctx, history.Writes(name, last.revision, cmd.messageID(), evs), cmd)
	switch {
	case err != nil:
		h.heads.drop(name)
		if errors.Is(err, history.ErrConflict) || errors.Is(err, history.ErrOutcomeUnknown) {
			return nil, nil, err
		}
		return nil, nil, unavailable(err, false)
	case done.Duplicate:
		rec, err := h.journal.At(ctx, h.journal.Partition(cmd.ID), done.Revision)
		if err != nil {
			return nil, nil, unavailable(err, false)
		}
		if cmd.next && rec.Name != cmd.Name {
			return nil, nil, &ClaimedElsewhere{Task: rec.ID}
		}
		r, err := h.replay(cmd, &rec)
		return nil, &r, err
	}
	// gofail: var appendDone struct{}
	// return nil, nil, history.ErrOutcomeUnknown
	h.acked.raise(h.journal.Partition(cmd.ID), done.Revision)
	h.policy.Measured(false, 1, time.Since(start))
	h.stats.Appends.Add(int64(len(evs)))
	rec := events.Record{Event: evs[len(evs)-1], Name: name, Partition: h.journal.Partition(cmd.ID), Revision: done.Revision}
	if next, err = headOf(&rec, fold); err != nil {
		h.heads.drop(name)
		return nil, nil, domain.Errorf(domain.Internal, "event.fold", "%v", err)
	}
	h.heads.put(name, next)
	h.cfg.Observe(rec)
	return next, nil, nil
}
