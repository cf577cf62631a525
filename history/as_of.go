package history

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Times in the past are the times that events record themselves, so that answers
// outlive trimming, export and import; the times at which the server stored them
// only say where to begin. Two things are relied on: a trim takes an aggregate's
// events from its beginning and leaves the last; and of two events of one
// aggregate the later one is recorded at most a clock skew before the earlier
// one, because it was decided after the earlier one was stored.

// Moment is a point in the past: a revision of the aggregate's partition or, with
// revision 0, a time.
type Moment struct {
	Revision uint64
	At       time.Time
}

// Includes reports whether an event had happened by then.
func (m Moment) Includes(rec *events.Record) bool {
	if m.Revision > 0 {
		return rec.Revision <= m.Revision
	}
	return !rec.RecordedAt.After(m.At)
}

// errBehind means that two answers do not fit together.
var errBehind = domain.Errorf(domain.Unavailable, "journal.behind",
	"the journal was trimmed while it was read, or a replica lags behind the leader: send the query again")

// AsOf returns the last event of an aggregate as of a moment; ok is false when it
// did not exist then. It costs one request to the leader where nothing has
// happened since, mostly two or three otherwise.
func (h *History) AsOf(ctx context.Context, name events.AggregateName, m Moment) (rec events.Record, ok bool, err error) {
	last, ok, err := h.Last(ctx, name, Linearizable)
	if err != nil || !ok || m.Includes(&last) {
		return last, ok, err
	}
	if m.Revision > 0 {
		rec, ok, err = h.lastUpTo(ctx, name, Bound{Revision: m.Revision})
	} else {
		rec, ok, err = h.byTime(ctx, name, m, &last)
	}
	if err != nil || ok {
		return rec, ok, err
	}
	first, err := h.first(ctx, name)
	switch {
	case err != nil:
		return rec, false, err
	case m.Revision > 0 && m.Includes(&first):
		return rec, false, errBehind
	case first.Version == 1:
		return rec, false, nil // it did not exist yet
	}
	return h.archivedAsOf(ctx, name, m, first.Revision-1)
}

// archivedAsOf returns the last event as of a moment among those that were
// trimmed, which are not after upTo.
func (h *History) archivedAsOf(ctx context.Context, name events.AggregateName, m Moment, upTo uint64) (rec events.Record, ok bool, err error) {
	p := h.Partition(name.ID())
	if m.Revision > 0 {
		upTo = m.Revision
	}
	cut, _, err := h.Trimmed(ctx, p)
	if err != nil {
		return rec, false, err
	}
	if cut > 0 {
		cut = min(cut, upTo)
	} else {
		cut = upTo
	}
	if err := h.holds(ctx, p, cut); err != nil {
		return rec, false, err
	}
	if rec, ok, err = h.archive.LastOf(ctx, p, name, upTo, m.At); err != nil {
		err = unreadable("archive.unavailable", p, upTo, err)
	}
	return rec, ok, err
}

// lastUpTo returns the last event of an aggregate within a bound that the journal
// still has, with one request however long its history is.
func (h *History) lastUpTo(ctx context.Context, name events.AggregateName, b Bound) (rec events.Record, ok bool, err error) {
	ends, err := h.Ends(ctx, []events.AggregateName{name}, b, Fast)
	if err != nil {
		return rec, false, err
	}
	return ends[0].event()
}

// first returns the oldest event of an aggregate that the journal still has.
func (h *History) first(ctx context.Context, name events.AggregateName) (events.Record, error) {
	m, err := h.First(ctx, name)
	if err != nil {
		return events.Record{}, err
	}
	rec, ok, err := m.event()
	if err == nil && !ok {
		err = errBehind // an aggregate never loses its last event
	}
	return rec, err
}

// byTime finds the last event that the moment includes and the journal still has;
// last is the aggregate's end, which the moment does not include.
func (h *History) byTime(ctx context.Context, name events.AggregateName, m Moment, last *events.Record) (rec events.Record, ok bool, err error) {
	from, ok, err := h.lastUpTo(ctx, name, Bound{Before: m.At.Add(time.Nanosecond)})
	if err != nil {
		return rec, false, err
	}
	if !ok || !m.Includes(&from) {
		// Stored later than recorded, as by an import, or under another clock.
		if from, err = h.first(ctx, name); err != nil {
			return rec, false, err
		}
		if m.Includes(&from) {
			if from, err = h.bisect(ctx, name, m, from, last.Revision); err != nil {
				return rec, false, err
			}
		}
	}
	return h.forward(ctx, name, m, from, last)
}

// bisect returns an event that the moment includes and whose successor it does
// not include.
func (h *History) bisect(ctx context.Context, name events.AggregateName, m Moment, low events.Record, high uint64) (events.Record, error) {
	for from := low.Revision; high-from > 1; {
		mid := from + (high-from)/2
		rec, ok, err := h.lastUpTo(ctx, name, Bound{Revision: mid})
		switch {
		case err != nil:
			return low, err
		case !ok: // trimmed meanwhile
			return low, errBehind
		case m.Includes(&rec):
			low, from = rec, mid
		default:
			high = rec.Revision
		}
	}
	return low, nil
}

// forward returns the last event that the moment includes, reading on from an
// event until every later one must have been recorded later.
func (h *History) forward(ctx context.Context, name events.AggregateName, m Moment, from events.Record, last *events.Record) (best events.Record, found bool, err error) {
	enough := m.At.Add(h.skew)
	done, next := false, from.Version
	see := func(rec *events.Record) error {
		if rec.Version != next { // trimmed meanwhile
			return errStop
		}
		if next++; m.Includes(rec) {
			best, found = *rec, true
		}
		if done = rec.RecordedAt.After(enough) || rec.Revision >= last.Revision; done {
			return errStop
		}
		return nil
	}
	if err = see(&from); err == nil {
		r := Range{Partition: h.Partition(name.ID()), Aggregate: name, After: from.Revision}
		err = h.Range(ctx, r, func(msg Message) error {
			if msg.Bad != nil {
				return msg.Bad
			}
			return see(&msg.Record)
		})
	}
	if err == nil || errors.Is(err, errStop) {
		if err = nil; !done {
			err = errBehind
		}
	}
	return best, found, err
}
