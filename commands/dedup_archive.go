package commands

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// archiveTimeout bounds one question to the archive. After one that failed,
// commands for which the answer is optional are decided without it for
// archiveRest, so that each does not wait.
const (
	archiveTimeout = time.Second
	archiveRest    = time.Second
)

var errNoArchive = errors.New("the engine runs without SQL")

// dedupArchive searches the archive's index of command ids, where only that can
// tell. The answer is required when the command's event may have been trimmed:
// without it the command is refused (503). It is optional for an id that
// carries no time: commands continue without SQL, and the duplicate window
// remains.
func (h *Handler) dedupArchive(ctx context.Context, cmd *Command, last *head, now time.Time) (r Receipt, found bool, err error) {
	_, timed := MadeAt(cmd.CommandID)
	optional := !timed && h.cfg.Archive != nil
	required, err := h.windowLost(ctx, cmd, now)
	if err != nil {
		return Receipt{}, false, unavailable(err, false)
	}
	old := outsideWindow(cmd, now)
	if !required && !old && !optional {
		return Receipt{}, false, nil
	}
	names, end, err := h.olderEvents(ctx, cmd, last)
	if err != nil || len(names) == 0 {
		return Receipt{}, false, err
	}
	if !required && old {
		if required, err = h.trimmedSince(ctx, cmd); err != nil {
			return Receipt{}, false, unavailable(err, false)
		}
	}
	if !required && (!optional || now.UnixNano() < h.archivePause.Load()) {
		if optional {
			h.stats.Unasked.Add(1)
		}
		return Receipt{}, false, nil
	}
	rec, ok, reaches, err := h.askArchive(ctx, cmd, names)
	switch {
	case ok && err == nil:
		r, err := h.replay(cmd, &rec)
		return r, true, err
	case err != nil && (ok || required):
		return Receipt{}, false, domain.Errorf(domain.Unavailable, "archive.unavailable",
			"only the archive knows whether this command took effect before, and it cannot be read; send the same command id again (%v)", err)
	case err != nil:
		h.archivePause.Store(now.Add(archiveRest).UnixNano())
		h.stats.Unasked.Add(1)
		return Receipt{}, false, nil
	case reaches >= end:
		return Receipt{}, false, nil
	}
	return h.scanUnarchived(ctx, cmd, names, reaches, now)
}

func (h *Handler) askArchive(ctx context.Context, cmd *Command, names []events.AggregateName) (rec events.Record, ok bool, reaches uint64, err error) {
	if h.cfg.Archive == nil {
		return rec, false, 0, errNoArchive
	}
	ctx, cancel := context.WithTimeout(ctx, archiveTimeout)
	defer cancel()
	return h.cfg.Archive.FirstOf(ctx, h.journal.Partition(cmd.ID), cmd.CommandID, names)
}

// olderEvents are those of the command's aggregate and losers that have events
// besides the head, and the last revision of them.
func (h *Handler) olderEvents(ctx context.Context, cmd *Command, last *head) (names []events.AggregateName, end uint64, err error) {
	if last.version > 1 {
		names, end = append(names, cmd.Name), last.revision
	}
	if cmd.Losers == "" {
		return names, end, nil
	}
	losers, err := h.load(ctx, cmd.Losers, stateless)
	if err != nil {
		return nil, 0, unavailable(err, false)
	}
	if losers.revision > 0 {
		names, end = append(names, cmd.Losers), max(end, losers.revision)
	}
	return names, end, nil
}

// trimmedSince reports whether events recorded since the command was made may
// have been trimmed.
func (h *Handler) trimmedSince(ctx context.Context, cmd *Command) (bool, error) {
	p := h.journal.Partition(cmd.ID)
	cut, _, err := h.journal.Trimmed(ctx, p)
	if err != nil || cut == 0 {
		return false, err
	}
	made, _ := cmd.madeAt()
	next, err := h.journal.At(ctx, p, cut+1)
	return err != nil || !made.Add(-h.cfg.Bounds.ClockSkew-clockTolerance).After(next.RecordedAt), nil
}

// scanUnarchived searches the part of the history that the archive does not
// have yet, unless all of it is still in the duplicate window.
func (h *Handler) scanUnarchived(ctx context.Context, cmd *Command, names []events.AggregateName, reaches uint64, now time.Time) (Receipt, bool, error) {
	from := time.Unix(0, 0)
	if next, err := h.journal.At(ctx, h.journal.Partition(cmd.ID), reaches+1); err == nil {
		if now.Sub(next.RecordedAt) < windowAge {
			return Receipt{}, false, nil
		}
		from = next.RecordedAt.Add(-clockTolerance)
	}
	return h.scan(ctx, cmd, names, from)
}
