package journal

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// This file reads from the archive what the journal no longer has.

// archived is a stream's last event as of a moment, among those up to a
// revision from which on the journal has them all.
func (p Past) archived(ctx context.Context, s events.Stream, m moment, upTo uint64) (events.Record, bool, error) {
	if m.revision > 0 {
		upTo = m.revision
	}
	if err := p.holds(ctx, s, upTo); err != nil {
		return events.Record{}, false, err
	}
	rec, ok, err := p.Archive.LastOf(ctx, p.Partition(s.ID()), s, upTo, m.at)
	if err != nil {
		return rec, false, away(s, upTo, err)
	}
	return rec, ok, nil
}

// archivedBack are the events before one of a stream, newest first.
func (p Past) archivedBack(ctx context.Context, rec *events.Record, limit int) ([]events.Record, error) {
	if err := p.holds(ctx, rec.Stream, rec.Revision-1); err != nil {
		return nil, err
	}
	recs, err := p.Archive.Back(ctx, rec.Partition, rec.Stream, rec.Revision, limit)
	if err != nil {
		return nil, away(rec.Stream, rec.Revision-1, err)
	}
	next := rec.Version
	for i := range recs {
		if recs[i].Version != next-1 {
			break
		}
		next--
	}
	if whole := uint64(len(recs)); next != rec.Version-whole || whole < uint64(limit) && next != 1 {
		return nil, domain.Errorf(domain.Unavailable, "archive.incomplete", "version %d of %s is neither in the journal nor in the archive", next-1, rec.Stream)
	}
	return recs, nil
}

// holds makes sure that the archive has all events of a stream up to a revision
// that the journal lacks.
func (p Past) holds(ctx context.Context, s events.Stream, upTo uint64) error {
	part := p.Partition(s.ID())
	cut, err := p.Trimmed(ctx, part)
	if err != nil {
		return err
	}
	if cut > 0 {
		upTo = min(upTo, cut)
	}
	if p.Archive == nil {
		return away(s, upTo, errors.New("this engine runs without SQL"))
	}
	reaches, err := p.Archive.Reaches(ctx, part, p.ID())
	if err != nil {
		return away(s, upTo, err)
	}
	if reaches < upTo {
		return domain.Errorf(domain.Unavailable, "archive.incomplete",
			"the events of %s up to revision %d were trimmed from the journal, and the archive reaches only %d", s, upTo, reaches)
	}
	return nil
}

func away(s events.Stream, upTo uint64, err error) error {
	return domain.Errorf(domain.Unavailable, "archive.unavailable",
		"the events of %s up to revision %d were trimmed from the journal, and the archive does not answer: %v", s, upTo, err)
}

// preloaded is an archive that was asked for many streams at once.
type preloaded struct {
	history.Archive
	reaches uint64
	lasts   map[events.Stream]events.Record
}

// Reaches is how far the archive was when it was asked.
func (a preloaded) Reaches(context.Context, int, string) (uint64, error) { return a.reaches, nil }

// LastOf answers from what was loaded, for the moment it was loaded for.
func (a preloaded) LastOf(_ context.Context, _ int, s events.Stream, _ uint64, _ time.Time) (events.Record, bool, error) {
	rec, ok := a.lasts[s]
	return rec, ok, nil
}
