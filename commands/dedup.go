package commands

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// A command that was carried out before is found in one of four ways: its id
// is still in the journal's duplicate window; its event is the aggregate's
// last; a search of the aggregate's own streams finds it, from the time that
// the id says it was made, less the clock skew it was accepted under; or the
// archive does, where the id says no time or the journal was trimmed.

// made is when the command was made, by its id or by what its sender knows.
func (c *Command) made() (time.Time, bool) {
	if t, timed := MadeAt(c.CommandID); timed {
		return t, true
	}
	return c.since, !c.since.IsZero()
}

// beyondWindow tells whether a command is too old for the duplicate window to
// settle it. Without a time it never is; the window is then all there is.
func beyondWindow(cmd *Command, now time.Time) bool {
	made, timed := cmd.made()
	return timed && now.Sub(made) > young
}

// earlier looks for the command before it is decided; unsure says that an
// append of it may just have been stored.
func (h *Handler) earlier(ctx context.Context, cmd *Command, last *head, now time.Time, unsure bool) (Receipt, bool, error) {
	if last.commandID == cmd.CommandID || unsure || beyondWindow(cmd, now) {
		if r, found, err := h.search(ctx, cmd, last, now); found || err != nil {
			return r, found, err
		}
	}
	return h.recall(ctx, cmd, last, now)
}

// search looks for the command in its aggregate's streams.
func (h *Handler) search(ctx context.Context, cmd *Command, last *head, now time.Time) (Receipt, bool, error) {
	from, timed := cmd.made()
	if !timed {
		from = now.Add(-DuplicateWindow)
	}
	from = from.Add(-h.cfg.Bounds.ClockSkew - clockRoom)
	if last.revision > 0 && last.commandID == cmd.CommandID {
		rec, _, err := h.journal.Last(ctx, cmd.Stream, history.Linearizable)
		if err != nil {
			return Receipt{}, false, unavailable(err, false)
		}
		if rec.CommandID == cmd.CommandID {
			r, err := h.first(cmd, &rec)
			return r, true, err
		}
	}
	var streams []events.Stream
	if last.revision > 0 && !last.recordedAt.Before(from) {
		streams = append(streams, cmd.Stream)
	}
	if cmd.Losers != "" {
		streams = append(streams, cmd.Losers)
	}
	return h.scan(ctx, cmd, streams, from)
}

// first is the answer that the command got the first time. 409
// command.id_reused when the same id then asked something else.
func (h *Handler) first(cmd *Command, rec *events.Record) (Receipt, error) {
	p, err := cmd.replay(rec)
	if err != nil {
		return Receipt{}, err
	}
	if rec.CommandID != cmd.CommandID || p.request != cmd.Request {
		return Receipt{}, domain.Errorf(domain.Conflict, "command.id_reused",
			"command id %s has been used on %s with another verb or body", cmd.CommandID, cmd.Stream)
	}
	if p.refusal != nil {
		return Receipt{}, p.refusal
	}
	h.stats.Replays.Add(1)
	r := h.receipt(cmd, p.outcome, p.version, p.revision)
	r.Replayed = true
	return r, nil
}
