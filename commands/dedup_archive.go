package commands

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Archive is where events are found by the command that caused them, for what
// neither the duplicate window nor a search of the journal can tell: command
// ids that do not carry their time, and events that were trimmed.
type Archive interface {
	// FirstOf is the first event that a command caused on one of these streams
	// of a partition. The archive holds the partition's events up to reaches;
	// on an error it has told nothing. With ok and an error there is an event,
	// but it cannot be read.
	FirstOf(ctx context.Context, partition int, commandID string, streams []events.Stream) (rec events.Record, ok bool, reaches uint64, err error)
}

// askTime bounds one question to the archive. After one that failed, commands
// that may go on without an answer do so for a while, and do not wait each.
const (
	askTime  = time.Second
	askPause = time.Second
)

var errNoArchive = errors.New("the engine runs without SQL")

// recall looks for the command where only the archive can tell.
//
// An id without a time is asked for each time before it is decided; while the
// archive does not answer, the duplicate window is all there is, for commands
// go on without SQL. An id with a time is asked for when the journal no longer
// reaches back to it; it has taken effect at most once for ever, so there the
// command waits for the archive (503).
func (h *Handler) recall(ctx context.Context, cmd *Command, last *head, now time.Time) (Receipt, bool, error) {
	_, timed := MadeAt(cmd.CommandID)
	old := beyondWindow(cmd, now)
	if !old && (timed || h.cfg.Archive == nil) {
		return Receipt{}, false, nil
	}
	streams, end, err := h.histories(ctx, cmd, last)
	if err != nil || len(streams) == 0 {
		return Receipt{}, false, err
	}
	must := false
	if old {
		if must, err = h.trimmedSince(ctx, cmd); err != nil {
			return Receipt{}, false, unavailable(err, false)
		}
	}
	if !must && (timed || h.cfg.Archive == nil || now.UnixNano() < h.askAgain.Load()) {
		if !timed && h.cfg.Archive != nil {
			h.stats.Unasked.Add(1)
		}
		return Receipt{}, false, nil
	}
	rec, ok, reaches, err := h.ask(ctx, cmd, streams)
	switch {
	case ok && err == nil:
		r, err := h.first(cmd, &rec)
		return r, true, err
	case err != nil && (ok || must):
		return Receipt{}, false, domain.Errorf(domain.Unavailable, "archive.unavailable",
			"whether this command has taken effect before is only in the archive, which cannot be read; send the same command id again (%v)", err)
	case err != nil:
		h.askAgain.Store(now.Add(askPause).UnixNano())
		h.stats.Unasked.Add(1)
		return Receipt{}, false, nil
	case reaches >= end:
		return Receipt{}, false, nil
	}
	return h.beyond(ctx, cmd, streams, reaches, now)
}

func (h *Handler) ask(ctx context.Context, cmd *Command, streams []events.Stream) (rec events.Record, ok bool, reaches uint64, err error) {
	if h.cfg.Archive == nil {
		return rec, false, 0, errNoArchive
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return h.cfg.Archive.FirstOf(ctx, h.journal.Partition(cmd.ID), cmd.CommandID, streams)
}

// histories are the command's streams that hold more than the event looked at
// already, and the last revision of them.
func (h *Handler) histories(ctx context.Context, cmd *Command, last *head) (streams []events.Stream, end uint64, err error) {
	if last.version > 1 {
		streams, end = append(streams, cmd.Stream), last.revision
	}
	if cmd.Losers == "" {
		return streams, end, nil
	}
	losers, err := h.load(ctx, cmd.Losers, stateless)
	if err != nil {
		return nil, 0, unavailable(err, false)
	}
	if losers.revision > 0 {
		streams, end = append(streams, cmd.Losers), max(end, losers.revision)
	}
	return streams, end, nil
}

// trimmedSince tells whether events since the command was made may have been
// taken from the journal.
func (h *Handler) trimmedSince(ctx context.Context, cmd *Command) (bool, error) {
	p := h.journal.Partition(cmd.ID)
	cut, err := h.journal.Trimmed(ctx, p)
	if err != nil || cut == 0 {
		return false, err
	}
	made, _ := cmd.made()
	next, err := h.journal.At(ctx, p, cut+1)
	return err != nil || !made.Add(-h.cfg.Bounds.ClockSkew-clockRoom).After(next.RecordedAt), nil
}

// beyond looks for the command in the journal where the archive has not come
// yet, unless all of that is still in the duplicate window.
func (h *Handler) beyond(ctx context.Context, cmd *Command, streams []events.Stream, reaches uint64, now time.Time) (Receipt, bool, error) {
	from := time.Unix(0, 0)
	if next, err := h.journal.At(ctx, h.journal.Partition(cmd.ID), reaches+1); err == nil {
		if now.Sub(next.RecordedAt) < young {
			return Receipt{}, false, nil
		}
		from = next.RecordedAt.Add(-clockRoom)
	}
	return h.scan(ctx, cmd, streams, from)
}

// scan looks for the command's event in streams from a time on.
func (h *Handler) scan(ctx context.Context, cmd *Command, streams []events.Stream, from time.Time) (Receipt, bool, error) {
	for _, s := range streams {
		var hit *events.Record
		err := h.journal.Since(ctx, s, from, func(rec events.Record) bool {
			if rec.CommandID == cmd.CommandID {
				hit = &rec
			}
			return hit == nil
		})
		if err != nil {
			return Receipt{}, false, unavailable(err, false)
		}
		if hit != nil {
			r, err := h.first(cmd, hit)
			return r, true, err
		}
	}
	return Receipt{}, false, nil
}
