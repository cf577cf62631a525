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

// carryAll is carry for several commands at once. The mailboxes of all their
// aggregates are held.
func (h *Handler) carryAll(ctx context.Context, cmds []Command) ([]Result, error) {
	unsure := false
	for attempt := range attempts {
		if attempt > 0 && pause(ctx, attempt) != nil {
			break
		}
		b := bundle{h: h, heads: map[events.Stream]*head{}, first: map[events.Stream]*head{}, now: h.cfg.Now()}
		results, err := b.repeated(ctx, cmds, unsure)
		if results != nil || err != nil {
			return results, err
		}
		for i := range cmds {
			if err := b.decide(ctx, &cmds[i]); err != nil {
				if errors.Is(err, history.ErrConflict) {
					b.err = err
					break
				}
				// A repeated batch may be refused for what its first time did.
				if results, serr := b.repeated(ctx, cmds, true); results != nil && serr == nil {
					return results, nil
				}
				return nil, indexed(err, i)
			}
		}
		if b.err == nil {
			b.err = b.commit(ctx)
		}
		switch {
		case b.err == nil:
			return b.results(cmds), nil
		case errors.Is(b.err, history.ErrConflict):
			h.stats.Conflicts.Add(1)
		case errors.Is(b.err, history.ErrOutcomeUnknown):
			unsure = true
		default:
			return nil, unavailable(b.err, false)
		}
		for s := range b.first {
			h.heads.drop(s)
		}
	}
	if unsure || ctx.Err() != nil {
		return nil, unavailable(context.Cause(ctx), true)
	}
	return nil, domain.Errorf(domain.Conflict, "state.contended", "other writers won %d times in a row", attempts)
}

// guardAll is guard for several commands.
func (h *Handler) guardAll(ctx context.Context, cmds []Command) (results []Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			for i := range cmds {
				h.heads.drop(cmds[i].Stream)
				h.heads.drop(cmds[i].Losers)
			}
			results, err = nil, fmt.Errorf("panic while carrying out a batch: %v\n%s", p, debug.Stack())
		}
	}()
	return h.carryAll(ctx, cmds)
}

// bundle is one attempt at an atomic batch: the heads as they would be after
// each command, and the events so far.
type bundle struct {
	h       *Handler
	now     time.Time
	first   map[events.Stream]*head // as loaded
	heads   map[events.Stream]*head // as decided so far
	writes  []history.Write
	answers []answer
	last    uint64 // revision of the last write, once committed
	err     error
}

// answer is what a command came to; event is the index of the write its
// aggregate then stands at, -1 = one from before the batch.
type answer struct {
	outcome  domain.Outcome
	version  uint64
	revision uint64
	event    int
}

func (b *bundle) load(ctx context.Context, s events.Stream, fold func(*events.Event) (any, error)) (*head, error) {
	if known, ok := b.heads[s]; ok {
		return known, nil
	}
	loaded, err := b.h.load(ctx, s, fold)
	if err != nil {
		return nil, unavailable(err, false)
	}
	b.first[s], b.heads[s] = loaded, loaded
	return loaded, nil
}

// repeated answers a batch whose commands have taken effect before; those that
// came to nothing then and now are unchanged. 409 when one would take effect
// only now: then it is not the same batch.
func (b *bundle) repeated(ctx context.Context, cmds []Command, unsure bool) ([]Result, error) {
	results, found := make([]Result, len(cmds)), 0
	var missing []int
	for i := range cmds {
		cmd := &cmds[i]
		last, err := b.load(ctx, cmd.Stream, cmd.fold)
		if err != nil {
			return nil, indexed(err, i)
		}
		var ok bool
		if results[i].Receipt, ok, err = b.h.earlier(ctx, cmd, last, b.now, unsure); err != nil {
			return nil, indexed(err, i)
		}
		if ok {
			found++
		} else {
			missing = append(missing, i)
		}
	}
	switch {
	case found == 0:
		return nil, nil
	case len(missing) > 0 && !unsure:
		return b.repeated(ctx, cmds, true) // those not looked for yet
	}
	for _, i := range missing {
		cmd, last := &cmds[i], b.heads[cmds[i].Stream]
		d := cmd.decide(last.state, domain.Ask{Now: b.now, CommandID: cmd.CommandID, Revision: last.revision})
		if d.Outcome != domain.Unchanged {
			return nil, domain.Errorf(domain.Conflict, "command.id_reused",
				"%d of the batch's %d command ids have taken effect before, outside of this batch", found, len(cmds)).With("index", i)
		}
		results[i].Receipt = b.h.receipt(cmd, d.Outcome, last.version, last.revision)
	}
	return results, nil
}

// decide lets one command be decided on top of those before it.
func (b *bundle) decide(ctx context.Context, cmd *Command) error {
	last, err := b.load(ctx, cmd.Stream, cmd.fold)
	if err != nil {
		return err
	}
	d := cmd.decide(last.state, domain.Ask{Now: b.now, CommandID: cmd.CommandID, Revision: last.revision})
	if len(d.Events) > 0 && cmd.prepare != nil {
		if err := cmd.prepare(ctx, b.h); err != nil {
			return err
		}
		d = cmd.decide(last.state, domain.Ask{Now: b.now, CommandID: cmd.CommandID, Revision: last.revision})
	}
	if len(d.Events) == 0 && last == b.first[cmd.Stream] {
		if err := b.h.confirm(ctx, cmd.Stream, last); err != nil {
			return err
		}
	}
	if d.Refusal != nil {
		return d.Refusal
	}
	a := answer{outcome: d.Outcome, version: last.version, revision: last.revision, event: last.written}
	switch {
	case len(d.Events) > 0:
		next, err := b.write(cmd, cmd.Stream, last, d.Events, cmd.fold)
		if err != nil {
			return err
		}
		a.version, a.event = next.version, next.written
	case d.Loss != nil:
		losers, err := b.load(ctx, cmd.Losers, stateless)
		if err != nil {
			return err
		}
		if _, err := b.write(cmd, cmd.Losers, losers, []events.Event{*d.Loss}, stateless); err != nil {
			return err
		}
	}
	b.answers = append(b.answers, a)
	return nil
}

// write adds a command's events after last and returns the head they lead to.
func (b *bundle) write(cmd *Command, s events.Stream, last *head, evs []events.Event, fold func(*events.Event) (any, error)) (*head, error) {
	if err := complete(evs, last, cmd.CommandID, b.now); err != nil {
		return nil, err
	}
	for i := range evs {
		w := history.Write{Stream: s, Event: &evs[i], First: i == 0 && last == b.first[s], After: last.revision}
		if i == 0 {
			w.ID = MessageID(cmd.Stream, cmd.CommandID)
		}
		b.writes = append(b.writes, w)
	}
	next, err := headOf(&events.Record{Event: evs[len(evs)-1]}, fold)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "event.fold", "%v", err)
	}
	next.written = len(b.writes)
	b.heads[s] = next
	return next, nil
}

// commit appends what was decided; without events there is nothing to do.
func (b *bundle) commit(ctx context.Context) error {
	if len(b.writes) == 0 {
		return nil
	}
	batcher, ok := b.h.journal.(history.Batcher)
	if !ok {
		return domain.Errorf(domain.Rejected, "batch.not_atomic", "this journal takes no atomic batches")
	}
	last, err := batcher.AppendAll(ctx, b.writes)
	if err != nil {
		return err
	}
	b.last = last
	b.h.stats.Appends.Add(int64(len(b.writes)))
	for i := range b.writes {
		w := &b.writes[i]
		b.h.cfg.Observe(events.Record{
			Event: *w.Event, Stream: w.Stream, Partition: b.h.journal.Partition(w.Stream.ID()), Revision: b.revision(i + 1),
		})
	}
	for s, next := range b.heads {
		if next.written > 0 {
			next.revision, next.written = b.revision(next.written), 0
			b.h.heads.put(s, next)
		}
	}
	return nil
}

// revision is that of the n-th write, from 1: a batch is stored in one piece.
func (b *bundle) revision(n int) uint64 { return b.last - uint64(len(b.writes)-n) }

func (b *bundle) results(cmds []Command) []Result {
	results := make([]Result, len(cmds))
	for i, a := range b.answers {
		if a.event > 0 {
			a.revision = b.revision(a.event)
		}
		results[i] = Result{Receipt: b.h.receipt(&cmds[i], a.outcome, a.version, a.revision)}
	}
	return results
}
