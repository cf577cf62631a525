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
	// scanTimeout bounds a search of the history in place of the archive's index.
	scanTimeout = 5 * time.Second
)

var errNoArchive = errors.New("the engine runs without SQL")

// dedupArchive searches the archive's index of command ids, where only that can
// tell. The answer is required when the command's event may have been trimmed:
// where the archive does not answer, or does not reach the trim mark, the command
// is refused (503), unless the journal still has all events of its aggregate. It
// is optional for an id that carries no time while nothing was trimmed: commands
// continue without SQL, and the duplicate window remains.
func (h *Handler) dedupArchive(ctx context.Context, cmd *Command, last *head, now time.Time) (r Receipt, found bool, err error) {
	timed := cmd.timed()
	required, err := h.windowLost(ctx, cmd, now)
	if err != nil {
		return Receipt{}, false, unavailable(err, false)
	}
	if !required && timed && !outsideWindow(cmd, now) {
		return Receipt{}, false, nil
	}
	names, end, err := h.olderEvents(ctx, cmd, last)
	if err != nil || len(names) == 0 {
		return Receipt{}, false, err
	}
	if !required {
		if required, err = h.trimmedSince(ctx, cmd); err != nil {
			return Receipt{}, false, unavailable(err, false)
		}
	}
	if !required && (timed || h.cfg.Archive == nil) {
		return Receipt{}, false, nil
	}
	// A longer pause is one of before the clock was set back.
	if rest := time.Duration(h.archivePause.Load() - now.UnixNano()); !required && rest > 0 && rest <= archiveRest {
		h.stats.Unasked.Add(1)
		return Receipt{}, false, nil
	}
	rec, ok, reaches, err := h.askArchive(ctx, cmd, names)
	switch {
	case ok && err == nil:
		r, err := h.replay(cmd, &rec)
		return r, true, err
	case ok:
		return Receipt{}, false, domain.Errorf(domain.Unavailable, "archive.unavailable",
			"only the archive knows whether this command took effect before, and its event cannot be decoded; send the same command id again")
	case err != nil && !required:
		h.archivePause.Store(now.Add(archiveRest).UnixNano())
		h.stats.Unasked.Add(1)
		return Receipt{}, false, nil
	case err == nil && reaches >= end:
		return Receipt{}, false, nil
	case err != nil:
		reaches = 0
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
// have been trimmed; always, where its time is not known and anything was.
func (h *Handler) trimmedSince(ctx context.Context, cmd *Command) (bool, error) {
	p := h.journal.Partition(cmd.ID)
	t, err := h.trims.last(ctx, h.journal, p)
	if err != nil || t.cut == 0 {
		return false, err
	}
	made, timed := cmd.madeAt()
	if !timed {
		return true, nil
	}
	next, err := h.journal.At(ctx, p, t.cut+1)
	return err != nil || !made.Add(-h.cfg.Bounds.ClockSkew-clockTolerance).After(next.RecordedAt), nil
}

// scanUnarchived searches the part of the history that the archive does not
// have: with nothing trimmed beyond it, from there on and unless all of it is
// still in the duplicate window; else all events of the aggregates, which fails
// where some of them were trimmed.
func (h *Handler) scanUnarchived(ctx context.Context, cmd *Command, names []events.AggregateName, reaches uint64, now time.Time) (Receipt, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	p := h.journal.Partition(cmd.ID)
	t, err := h.trims.last(ctx, h.journal, p)
	if err != nil {
		return Receipt{}, false, unavailable(err, false)
	}
	from := time.Unix(0, 0)
	if reaches > 0 && reaches >= t.cut {
		if next, err := h.journal.At(ctx, p, reaches+1); err == nil {
			if now.Sub(next.RecordedAt) < windowAge {
				return Receipt{}, false, nil
			}
			from = next.RecordedAt.Add(-clockTolerance)
		}
	}
	return h.scan(ctx, cmd, names, from)
}
