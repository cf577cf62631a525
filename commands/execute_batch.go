package commands

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// executeBatch executes the commands of an atomic batch with one append. The
// mailboxes of all their aggregates are held. A panic fails this batch only.
func (h *Handler) executeBatch(ctx context.Context, cmds []Command, require []requirement) (results []Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			for i := range cmds {
				h.heads.drop(cmds[i].Name)
				h.heads.drop(cmds[i].Losers)
			}
			results, err = nil, fmt.Errorf("panic while executing a batch: %v\n%s", p, debug.Stack())
		}
	}()
	// A conflict is no answer where the next attempt decides: it finds the requirements
	// failed, or computes with the new value.
	again := len(require) > 0 || slices.ContainsFunc(cmds, func(c Command) bool { return c.computes })
	withdrawn, all := false, make([]*Command, len(cmds))
	for i := range cmds {
		all[i] = &cmds[i]
	}
	err = h.retry(ctx, again, false, func(unsure bool) (err error) {
		b := batchAttempt{h: h, heads: map[events.AggregateName]*head{}, loaded: map[events.AggregateName]*head{}, now: h.cfg.Now(), cmds: all}
		results, err = b.execute(ctx, cmds, require, unsure || withdrawn)
		if !withdrawn && !errors.Is(err, history.ErrConflict) && !errors.Is(err, history.ErrOutcomeUnknown) {
			var failed error
			if withdrawn, failed = h.withdrawBatch(ctx, &b, err); failed != nil {
				return failed
			}
			if withdrawn {
				results, err = nil, history.ErrConflict
			}
		}
		if errors.Is(err, history.ErrConflict) || errors.Is(err, history.ErrOutcomeUnknown) {
			for name := range b.loaded {
				h.heads.drop(name)
			}
		}
		return err
	})
	for i := range cmds {
		if err != nil {
			h.undo(ctx, &cmds[i])
		}
	}
	return results, err
}

// batchAttempt is one attempt at an atomic batch.
type batchAttempt struct {
	h       *Handler
	now     time.Time
	loaded  map[events.AggregateName]*head // as the journal has them
	heads   map[events.AggregateName]*head // after the commands decided so far
	writes  []history.Write
	answers []batchAnswer
	cmds    []*Command
	last    uint64 // revision of the last write, once stored
}

// batchAnswer is the result of one command: its aggregate's head after it, and the
// revision of that. write is the number of the write, from 1, that set them; 0 = they
// are from before the batch.
type batchAnswer struct {
	outcome  domain.Outcome
	head     *head
	revision uint64
	write    int
}

func (b *batchAttempt) execute(ctx context.Context, cmds []Command, require []requirement, unsure bool) ([]Result, error) {
	for i := range cmds {
		b.h.dropValueless(&cmds[i])
	}
	deciding := b.h.cfg.Trace.Begin(cmds[0].trace, spanDecide) // all commands of a batch have its context
	defer deciding.End()
	if results, err := b.dedup(ctx, cmds, unsure); results != nil || err != nil {
		return results, err
	}
	if err := b.require(ctx, require); err != nil {
		if errors.Is(err, history.ErrConflict) {
			return nil, err
		}
		// The first delivery of a repeated batch may have changed what it requires.
		if results, found := b.dedup(ctx, cmds, true); results != nil && found == nil {
			return results, nil
		}
		return nil, err
	}
	for i := range cmds {
		err := b.decide(ctx, &cmds[i])
		if errors.Is(err, history.ErrConflict) {
			return nil, err
		}
		if err != nil {
			// A repeated batch may be refused because its first delivery took effect.
			if results, found := b.dedup(ctx, cmds, true); results != nil && found == nil {
				return results, nil
			}
			return nil, indexed(err, i)
		}
	}
	err := b.guard(ctx, cmds, require)
	deciding.Int("tidemark.events", int64(len(b.writes)))
	deciding.End()
	if err == nil {
		err = b.append(ctx)
	}
	switch {
	case errors.Is(err, history.ErrConflict), errors.Is(err, history.ErrOutcomeUnknown):
		return nil, err
	case err != nil:
		return nil, unavailable(err, false)
	}
	return b.results(cmds), nil
}

func (b *batchAttempt) load(ctx context.Context, name events.AggregateName, fold func(*events.Event) (any, error)) (*head, error) {
	if known, ok := b.heads[name]; ok {
		return known, nil
	}
	loaded, err := b.h.load(ctx, name, fold)
	if err != nil {
		return nil, unavailable(err, false)
	}
	b.loaded[name], b.heads[name] = loaded, loaded
	return loaded, nil
}

// decide decides one command on the state after those before it.
func (b *batchAttempt) decide(ctx context.Context, cmd *Command) error {
	last, err := b.load(ctx, cmd.Name, cmd.fold)
	if err != nil {
		return err
	}
	if cmd.guard != nil {
		if refused := cmd.guard(last.state); refused != nil {
			if last == b.loaded[cmd.Name] {
				if err := b.h.confirm(ctx, cmd.Name, last); err != nil {
					return err
				}
			}
			return refused
		}
	}
	if err := cmd.lookUp(ctx, b.h); err != nil {
		return unavailable(err, false)
	}
	meta := domain.Metadata{Now: b.now, CommandID: cmd.CommandID, Actor: cmd.actor, Revision: last.revision, Version: last.version}
	if last.written > 0 {
		meta.Before = uint64(len(b.writes) + 1 - last.written)
	}
	d := cmd.decide(last.state, meta)
	if len(d.Events) > 0 && cmd.prepare != nil {
		cmd.prepared = true
		if err := cmd.prepare(ctx, b.h); err != nil {
			return err
		}
		d = cmd.decide(last.state, meta)
	}
	if len(d.Events) == 0 && last == b.loaded[cmd.Name] {
		if err := b.h.confirm(ctx, cmd.Name, last); err != nil {
			return err
		}
	}
	if d.Refusal != nil {
		return b.ofJournal(cmd, last, d.Refusal)
	}
	a := batchAnswer{outcome: d.Outcome, head: last, revision: last.revision, write: last.written}
	switch {
	case len(d.Events) > 0:
		next, err := b.write(ctx, cmd, cmd.Name, last, d.Events, cmd.fold)
		if err != nil {
			return err
		}
		a.head, a.write = next, next.written
	case d.Loss != nil:
		losers, err := b.load(ctx, cmd.Losers, stateless)
		if err != nil {
			return err
		}
		if _, err := b.write(ctx, cmd, cmd.Losers, losers, []events.Event{*d.Loss}, stateless); err != nil {
			return err
		}
	}
	b.answers = append(b.answers, a)
	return nil
}

// ofJournal is a refusal that says what version and revision an aggregate has. Those that it
// would have after earlier commands of the batch never come to be: the details are of the journal.
func (b *batchAttempt) ofJournal(cmd *Command, last *head, refusal *domain.Error) *domain.Error {
	if _, says := refusal.Details["revision"]; !says || last.written == 0 {
		return refusal
	}
	is := b.loaded[cmd.Name]
	e := *refusal
	e.Message += fmt.Sprintf(", after earlier commands of the batch; the journal has version %d", is.version)
	return e.With("version", is.version).With("revision", is.revision)
}

// write adds a command's events after last and returns the head after them.
func (b *batchAttempt) write(ctx context.Context, cmd *Command, name events.AggregateName, last *head, evs []events.Event, fold func(*events.Event) (any, error)) (*head, error) {
	if err := b.h.completeOwn(ctx, evs, last, cmd, b.now); err != nil {
		return nil, err
	}
	writes := history.Writes(name, last.revision, cmd.messageID(), evs)
	writes[0].First = last == b.loaded[name]
	b.writes = append(b.writes, writes...)
	next, err := headOf(&events.Record{Event: evs[len(evs)-1]}, fold)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "event.fold", "%v", err)
	}
	next.written = len(b.writes)
	b.heads[name] = next
	return next, nil
}

// append stores the events of all commands, if there are any.
func (b *batchAttempt) append(ctx context.Context) error {
	if len(b.writes) == 0 {
		return nil
	}
	if err := tooManyWrites(b.writes); err != nil {
		return err
	}
	// gofail: var batchAppend struct{}
	// return history.ErrConflict
	done, err := b.h.store(ctx, b.writes, b.cmds...)
	if err != nil {
		return err
	}
	if done.Duplicate { // a batch of one event, stored since dedup
		return history.ErrOutcomeUnknown
	}
	// gofail: var batchAppended struct{}
	// return history.ErrOutcomeUnknown
	b.last = done.Revision
	b.h.stats.Appends.Add(int64(len(b.writes)))
	b.h.observe(b.writes, b.last)
	for name, next := range b.heads {
		if next.written > 0 {
			next.revision, next.written = b.revision(next.written), 0
			b.h.heads.put(name, next)
		}
	}
	return nil
}

// revision is that of a write by its number, from 1: revisions of a batch are
// consecutive.
func (b *batchAttempt) revision(write int) uint64 { return b.last - uint64(len(b.writes)-write) }

func (b *batchAttempt) results(cmds []Command) []Result {
	results := make([]Result, len(cmds))
	for i, a := range b.answers {
		if a.write > 0 {
			a.revision = b.revision(a.write)
		}
		results[i] = Result{Receipt: b.h.receiptAt(&cmds[i], a.outcome, a.head, a.revision)}
	}
	return results
}
