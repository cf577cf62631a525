package history

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/tidemark-engine/tidemark/events"
)

// Back returns an aggregate's events below a revision (0 = from the end), newest
// first, at most limit, up to the first for which full returns true. It walks from
// the end with one request for each event, so that a page costs the same at any
// length of the history; what was trimmed comes from the archive, some at a time.
func (h *History) Back(ctx context.Context, name events.AggregateName, below uint64, limit int, full func(*events.Record) bool) (recs []events.Record, err error) {
	var rec events.Record
	var ok bool
	switch below {
	case 0:
		rec, ok, err = h.Last(ctx, name, Linearizable)
	case 1:
		return nil, nil
	default:
		rec, ok, err = h.AsOf(ctx, name, Moment{Revision: below - 1})
	}
	for err == nil && ok {
		if recs = append(recs, rec); full(&rec) || len(recs) == limit || rec.Version == 1 || rec.Revision == 1 {
			return recs, nil
		}
		last := rec
		if rec, ok, err = h.lastUpTo(ctx, name, Bound{Revision: last.Revision - 1}); err == nil && !ok {
			return h.archivedBack(ctx, recs, limit, full)
		}
		if err == nil && rec.Version != last.Version-1 {
			err = errBehind
		}
	}
	return recs, err
}

// archivedAtOnce is how many events Back reads from the archive at a time: values
// may be large.
const archivedAtOnce = 32

// archivedBack adds the events before the last of recs from the archive, newest
// first. It fails where one is missing.
func (h *History) archivedBack(ctx context.Context, recs []events.Record, limit int, full func(*events.Record) bool) ([]events.Record, error) {
	rec := recs[len(recs)-1]
	p, upTo := rec.Partition, rec.Revision-1
	cut, _, err := h.Trimmed(ctx, p)
	if err != nil {
		return nil, err
	}
	if cut > 0 {
		upTo = min(upTo, cut)
	}
	if err := h.holds(ctx, p, upTo); err != nil {
		return nil, err
	}
	for rec.Version != 1 && len(recs) < limit {
		old, err := h.archive.Back(ctx, p, rec.Name, rec.Revision, min(limit-len(recs), archivedAtOnce))
		if err != nil {
			return nil, unreadable("archive.unavailable", p, upTo, err)
		}
		if len(old) == 0 || old[0].Version != rec.Version-1 {
			return nil, unreadable("archive.incomplete", p, upTo, fmt.Errorf("version %d of %s is missing there", rec.Version-1, rec.Name))
		}
		for i := range old {
			if old[i].Version != rec.Version-1 {
				break // the next look says what is missing
			}
			rec = old[i]
			if recs = append(recs, rec); full(&rec) {
				return recs, nil
			}
		}
	}
	return recs, nil
}

// Keys returns what the last wildcard of a pattern stands for, in order: those
// keys that come after one and have a prefix, at most limit. Keys of deleted
// entries are among them.
func (h *History) Keys(ctx context.Context, pattern events.AggregateName, prefix, after string, limit int) ([]string, error) {
	names, err := h.Names(ctx, pattern)
	if err != nil {
		return nil, err
	}
	root := strings.TrimSuffix(string(pattern), ">")
	var keys []string
	for _, name := range names {
		if key := strings.TrimPrefix(string(name), root); key > after && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys[:min(limit, len(keys))], nil
}

// Changed counts the aggregates that match a pattern and have an event after a
// revision. It reads those events, which are few while a view keeps up; where
// that is everything, it counts the names.
func (h *History) Changed(ctx context.Context, pattern events.AggregateName, after uint64) (int, error) {
	if after == 0 {
		names, err := h.Names(ctx, pattern)
		return len(names), err
	}
	changed := map[events.AggregateName]struct{}{}
	r := Range{Partition: h.Partition(pattern.ID()), Aggregate: pattern, After: after}
	err := h.Range(ctx, r, func(m Message) error {
		changed[m.Name] = struct{}{}
		return m.Bad
	})
	return len(changed), err
}
