package commands

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// A command id takes effect at most once on an aggregate. A repeated command is
// answered with its first receipt. It is recognised in four ways:
//
//  1. Duplicate window: the journal does not store a message id again that it
//     stored within history.DuplicateWindow. This needs no read and covers every
//     command that is younger than windowAge.
//  2. Head: the aggregate's last event has this command id.
//  3. History (dedupHistory): a search of the aggregate's events and losing
//     writes from the time on at which the command was made, less the accepted
//     clock skew. It covers commands older than the window, appends with an
//     unknown outcome, and answers that leave no event.
//  4. Archive (dedupArchive): the index of command ids in SQL. It covers ids that
//     carry no time, ids older than the events left in the journal after a trim,
//     and, for a while after a trim, all ids that are not younger: a server that
//     restarts rebuilds its duplicate window from the messages that it still
//     stores, so it no longer knows those that were trimmed.
//
// Without SQL the first three remain, so while nothing was trimmed an id that
// carries no time is recognised for the duplicate window only. Where events of
// the command's aggregate were trimmed and the archive does not have them, the
// command is refused (503).

// madeAt is when the command was made, by its id or as its sender knows.
func (c *Command) madeAt() (time.Time, bool) {
	if c.timed() {
		return c.idTime, true
	}
	return c.since, !c.since.IsZero()
}

// timed reports whether the command id carries its time.
func (c *Command) timed() bool { return !c.idTime.IsZero() }

// outsideWindow reports whether a command is too old for the duplicate window.
// A command of unknown age never is.
func outsideWindow(cmd *Command, now time.Time) bool {
	made, timed := cmd.madeAt()
	return timed && now.Sub(made) > windowAge
}

// windowSuffices reports whether the duplicate window alone recognises a
// repeated command, so that nothing need be searched before the append.
func (h *Handler) windowSuffices(ctx context.Context, cmd *Command, now time.Time) bool {
	if outsideWindow(cmd, now) || !cmd.timed() && h.cfg.Archive != nil {
		return false
	}
	if lost, err := h.windowLost(ctx, cmd, now); err != nil || lost {
		return false
	}
	if cmd.timed() {
		return true
	}
	trimmed, err := h.trimmedSince(ctx, cmd)
	return err == nil && !trimmed
}

// dedup searches for an earlier delivery of the command before it is decided;
// found = r is its first receipt. unsure: an append of it may have been stored.
func (h *Handler) dedup(ctx context.Context, cmd *Command, last *head, now time.Time, unsure bool) (r Receipt, found bool, err error) {
	if last.commandID == cmd.CommandID || unsure || outsideWindow(cmd, now) {
		if r, found, err := h.dedupHistory(ctx, cmd, last, now); found || err != nil {
			return r, found, err
		}
	}
	return h.dedupArchive(ctx, cmd, last, now)
}

// dedupHistory searches the aggregate's last event, its events and its losing
// writes.
func (h *Handler) dedupHistory(ctx context.Context, cmd *Command, last *head, now time.Time) (r Receipt, found bool, err error) {
	from, timed := cmd.madeAt()
	if !timed {
		from = now.Add(-history.DuplicateWindow)
	}
	from = from.Add(-h.cfg.Bounds.ClockSkew - clockTolerance)
	if last.revision > 0 && last.commandID == cmd.CommandID {
		rec, _, err := h.journal.Last(ctx, cmd.Name, history.Linearizable)
		if err != nil {
			return Receipt{}, false, unavailable(err, false)
		}
		if rec.CommandID == cmd.CommandID {
			r, err := h.replay(cmd, &rec)
			return r, true, err
		}
	}
	var names []events.AggregateName
	if last.revision > 0 && !last.recordedAt.Before(from) {
		names = append(names, cmd.Name)
	}
	if cmd.Losers != "" {
		names = append(names, cmd.Losers)
	}
	return h.scan(ctx, cmd, names, from)
}

// scan searches the events of aggregates from a time on.
func (h *Handler) scan(ctx context.Context, cmd *Command, names []events.AggregateName, from time.Time) (r Receipt, found bool, err error) {
	for _, name := range names {
		var first *events.Record
		err := h.journal.Since(ctx, name, from, func(rec events.Record) bool {
			if rec.CommandID == cmd.CommandID {
				first = &rec
			}
			return first == nil
		})
		if err != nil {
			return Receipt{}, false, unavailable(err, false)
		}
		if first != nil {
			r, err := h.replay(cmd, first)
			return r, true, err
		}
	}
	return Receipt{}, false, nil
}

// reused is the refusal of a command id that was used for another request.
func (c *Command) reused() error {
	return domain.Errorf(domain.Conflict, "command.id_reused",
		"command id %s has been used on %s with another verb or body", c.CommandID, c.Name)
}

// replay is the command's first answer, by the event that it caused. 409
// command.id_reused if the id was used for another request.
func (h *Handler) replay(cmd *Command, rec *events.Record) (Receipt, error) {
	e, err := cmd.effect(rec)
	if err != nil {
		return Receipt{}, err
	}
	// Of an erased event only the command id is left to compare.
	if rec.CommandID != cmd.CommandID || !rec.Erased && !cmd.request.is(e.request) {
		return Receipt{}, cmd.reused()
	}
	if e.refusal != nil {
		return Receipt{}, e.refusal
	}
	r := h.receipt(cmd, e.outcome, e.version, e.revision)
	if r.Keys = e.keys; cmd.computes {
		r.Value = e.value
	}
	if cmd.claims {
		r.Task = string(rec.State)
	}
	if r.Replayed = !slices.Contains(cmd.tried, rec.Digest); r.Replayed { // else the acknowledgement of this delivery's append was lost
		h.stats.Replays.Add(1)
	}
	return r, nil
}
