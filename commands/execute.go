package commands

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// attempts bounds how often one command is decided anew after a conflict with
// another engine; inside one engine the mailbox leaves none.
const attempts = 24

// carry is the write side in one loop: load, decide, append; on a conflict
// load and decide again. Before any answer that leaves no event, and before
// deciding for an id that the duplicate window may not settle, it looks whether
// the command has taken effect before. unsure tells that an append of it may
// have been stored already.
func (h *Handler) carry(ctx context.Context, cmd *Command, unsure bool) (Receipt, error) {
	if ctx.Err() != nil {
		return Receipt{}, domain.Errorf(domain.Unavailable, "engine.late",
			"the command waited too long behind others of its aggregate and was not carried out; send it again")
	}
	for attempt := range attempts {
		if attempt > 0 {
			if err := pause(ctx, attempt); err != nil {
				break
			}
		}
		last, err := h.load(ctx, cmd.Stream, cmd.fold)
		if err != nil {
			return Receipt{}, unavailable(err, unsure)
		}
		now := h.cfg.Now()
		if r, found, err := h.earlier(ctx, cmd, last, now, unsure); found || err != nil {
			return r, err
		}
		d := cmd.decide(last.state, domain.Ask{Now: now, CommandID: cmd.CommandID, Revision: last.revision})
		var r Receipt
		if len(d.Events) == 0 {
			err = h.confirm(ctx, cmd.Stream, last)
		}
		switch {
		case err != nil:
		case len(d.Events) > 0 && cmd.prepare != nil:
			if err := cmd.prepare(ctx, h); err != nil {
				return Receipt{}, err
			}
			cmd.prepare = nil
			continue
		case len(d.Events) > 0:
			r, err = h.accept(ctx, cmd, last, d, now)
		case d.Loss != nil:
			r, err = h.lose(ctx, cmd, last, d, now)
		default:
			r, err = h.leave(ctx, cmd, last, d, now)
		}
		switch {
		case errors.Is(err, history.ErrConflict):
			h.stats.Conflicts.Add(1)
		case errors.Is(err, history.ErrOutcomeUnknown):
			unsure = true
			h.heads.drop(cmd.Stream)
			h.heads.drop(cmd.Losers)
		default:
			return r, err
		}
	}
	if unsure || ctx.Err() != nil {
		return Receipt{}, unavailable(context.Cause(ctx), true)
	}
	return Receipt{}, domain.Errorf(domain.Conflict, "state.contended", "other writers won %d times in a row", attempts)
}

// accept appends the events of a decision.
func (h *Handler) accept(ctx context.Context, cmd *Command, last *head, d domain.Decision, now time.Time) (Receipt, error) {
	next, dup, err := h.append(ctx, cmd, cmd.Stream, last, d.Events, cmd.fold, now)
	if err != nil || dup != nil {
		return h.duplicate(ctx, cmd, dup, err)
	}
	r := h.receipt(cmd, d.Outcome, next.version, next.revision)
	return r, nil
}

// lose keeps a losing write and answers with what it lost against.
func (h *Handler) lose(ctx context.Context, cmd *Command, last *head, d domain.Decision, now time.Time) (Receipt, error) {
	losers, err := h.load(ctx, cmd.Losers, stateless)
	if err != nil {
		return Receipt{}, unavailable(err, false)
	}
	_, dup, err := h.append(ctx, cmd, cmd.Losers, losers, []events.Event{*d.Loss}, stateless, now)
	if err != nil || dup != nil {
		return h.duplicate(ctx, cmd, dup, err)
	}
	return h.settle(cmd, last, d)
}

// stateless folds a stream of which nothing but its end is needed.
func stateless(*events.Event) (any, error) { return nil, nil }

// leave answers without an event: a refusal or something that is so already.
// Nothing in the journal would tell a repetition, so it searches first.
func (h *Handler) leave(ctx context.Context, cmd *Command, last *head, d domain.Decision, now time.Time) (Receipt, error) {
	if r, found, err := h.search(ctx, cmd, last, now); found || err != nil {
		return r, err
	}
	return h.settle(cmd, last, d)
}

func (h *Handler) settle(cmd *Command, last *head, d domain.Decision) (Receipt, error) {
	if d.Refusal != nil {
		return Receipt{}, d.Refusal
	}
	return h.receipt(cmd, d.Outcome, last.version, last.revision), nil
}

func (h *Handler) receipt(cmd *Command, o domain.Outcome, version, revision uint64) Receipt {
	return Receipt{
		CommandID: cmd.CommandID, Outcome: o, Aggregate: cmd.Aggregate, ID: cmd.ID, Key: cmd.Key,
		Version: version, Revision: revision,
		Token: domain.TokenAt(h.journal.Incarnation(), h.journal.Partition(cmd.ID), revision).String(),
	}
}

// load is the head of a stream, from memory or by one read.
func (h *Handler) load(ctx context.Context, s events.Stream, fold func(*events.Event) (any, error)) (*head, error) {
	if known, ok := h.heads.get(s); ok {
		return known, nil
	}
	rec, ok, err := h.journal.Last(ctx, s, history.Fast)
	if err != nil {
		return nil, err
	}
	loaded := &head{}
	if ok {
		if loaded, err = headOf(&rec, fold); errors.Is(err, errRefold) {
			loaded, err = h.refold(ctx, &rec, err)
		}
		if err != nil {
			return nil, err
		}
	}
	h.heads.put(s, loaded)
	return loaded, nil
}

// confirm makes sure that a decision without an append, which nothing compares,
// was made from the aggregate's end; else ErrConflict.
func (h *Handler) confirm(ctx context.Context, s events.Stream, last *head) error {
	rec, _, err := h.journal.Last(ctx, s, history.Linearizable)
	switch {
	case err != nil:
		return unavailable(err, false)
	case rec.Revision != last.revision:
		h.heads.drop(s)
		return history.ErrConflict
	}
	return nil
}

// complete gives the events of one decision their places after last, and
// chains their digests.
func complete(evs []events.Event, last *head, commandID string, now time.Time) error {
	digest := last.digest
	for i := range evs {
		ev := &evs[i]
		ev.Version, ev.RecordedAt = last.version+uint64(i)+1, now
		ev.CommandID, ev.Schema = commandID, events.Schema
		var err error
		if ev.Digest, err = events.Chain(digest, ev); err != nil {
			return domain.Errorf(domain.Internal, "event.canonical", "%v", err)
		}
		digest = ev.Digest
	}
	return nil
}

// append completes the events, chains their digests, stores them after last
// and keeps the new head. dup is set when the journal knew the command.
func (h *Handler) append(ctx context.Context, cmd *Command, s events.Stream, last *head, evs []events.Event,
	fold func(*events.Event) (any, error), now time.Time) (next *head, dup *history.Appended, err error) {
	if err := complete(evs, last, cmd.CommandID, now); err != nil {
		return nil, nil, err
	}
	start := time.Now()
	done, err := h.journal.Append(ctx, s, last.revision, MessageID(cmd.Stream, cmd.CommandID), evs)
	switch {
	case err != nil:
		h.heads.drop(s)
		if errors.Is(err, history.ErrConflict) || errors.Is(err, history.ErrOutcomeUnknown) {
			return nil, nil, err
		}
		return nil, nil, unavailable(err, false)
	case done.Duplicate:
		return nil, &done, nil
	}
	h.hot.Learn(false, 1, time.Since(start))
	h.stats.Appends.Add(int64(len(evs)))
	rec := events.Record{Event: evs[len(evs)-1], Stream: s, Partition: h.journal.Partition(cmd.ID), Revision: done.Revision}
	if next, err = headOf(&rec, fold); err != nil {
		h.heads.drop(s)
		return nil, nil, domain.Errorf(domain.Internal, "event.fold", "%v", err)
	}
	h.heads.put(s, next)
	h.cfg.Observe(rec)
	return next, nil, nil
}

// duplicate answers from the event that the journal's window named.
func (h *Handler) duplicate(ctx context.Context, cmd *Command, dup *history.Appended, err error) (Receipt, error) {
	if err != nil {
		return Receipt{}, err
	}
	rec, err := h.journal.At(ctx, h.journal.Partition(cmd.ID), dup.Revision)
	if err != nil {
		return Receipt{}, unavailable(err, false)
	}
	return h.first(cmd, &rec)
}

// pause waits a little, jittered, before the next attempt.
func pause(ctx context.Context, attempt int) error {
	limit := time.Millisecond << min(attempt, 6)
	t := time.NewTimer(time.Duration(rand.Int64N(int64(limit)) + 1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func unavailable(err error, unsure bool) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, events.ErrNewer) {
		return domain.Errorf(domain.Unavailable, "engine.older", "%v: run the build that wrote it, or a later one", err)
	}
	if unsure {
		return domain.Errorf(domain.Unavailable, "outcome.unknown",
			"the journal did not answer in time; send the same command id again (%v)", err)
	}
	return domain.Errorf(domain.Unavailable, "journal.unavailable",
		"the journal cannot be reached; send the same command id again (%v)", err)
}
