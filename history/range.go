package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// errStop ends a reading early.
var errStop = errors.New("stop")

// Between yields the entries of a partition after one revision, up to another,
// in order, until yield fails. What was trimmed, also while it is read, must be in
// the archive, without gaps.
func (h *History) Between(ctx context.Context, partition int, after, upTo uint64, yield func(Message) error) error {
	if upTo <= after {
		return nil
	}
	if upTo == after+1 { // one entry, which is mostly in the journal: look there first
		found := false
		err := h.Range(ctx, Range{Partition: partition, After: after, UpTo: upTo}, func(m Message) error {
			found = true
			return yield(m)
		})
		if found || err != nil {
			return err
		}
		cut, _, err := h.Trimmed(ctx, partition)
		if err != nil || upTo > cut || h.archive == nil {
			return err
		}
	}
	last := after
	fill := func(upTo uint64) error { // what a trim has taken up to a revision
		archived, err := h.trimmed(ctx, partition, last, upTo)
		if err != nil || archived == 0 {
			return err
		}
		err = h.fromArchive(ctx, partition, last, archived, yield)
		last = archived
		return err
	}
	if err := fill(upTo); err != nil || last == upTo {
		return err
	}
	err := h.Range(ctx, Range{Partition: partition, After: last, UpTo: upTo}, func(m Message) error {
		if m.Revision > last+1 {
			if err := fill(m.Revision - 1); err != nil {
				return err
			}
		}
		last = m.Revision
		return yield(m)
	})
	if err != nil || last == upTo {
		return err
	}
	return fill(upTo)
}

// fromArchive yields a partition's events from the archive, which must have every
// one of them.
func (h *History) fromArchive(ctx context.Context, partition int, after, upTo uint64, yield func(Message) error) error {
	next := after + 1
	missing := func(below uint64) error {
		return unreadable("archive.incomplete", partition, upTo, fmt.Errorf("revisions %d to %d are missing there", next, below-1))
	}
	err := h.archive.Each(ctx, partition, after, upTo, func(m Message) error {
		if m.Revision != next {
			return missing(m.Revision)
		}
		next++
		return yield(m)
	})
	if err == nil && next != upTo+1 {
		err = missing(upTo + 1)
	}
	return err
}

// Untrimmed yields the entries of r that the journal has, and none where a trim came before:
// whole reports that these are all, also of a trim that came meanwhile. It is faster than
// Between for one aggregate or a pattern.
func (h *History) Untrimmed(ctx context.Context, r Range, yield func(Message) error) (whole bool, err error) {
	cut, _, err := h.Trimmed(ctx, r.Partition)
	if err != nil || cut > r.After {
		return false, err
	}
	failed := h.Range(ctx, r, yield)
	if cut, _, err = h.Trimmed(ctx, r.Partition); err != nil {
		return false, err
	}
	return cut <= r.After, failed
}

// Of yields the entries of one aggregate after a revision, up to another (0 = the
// end), oldest first, until yield fails. What was trimmed, also while it is read, must be
// in the archive.
func (h *History) Of(ctx context.Context, name events.AggregateName, after, upTo uint64, yield func(Message) error) error {
	partition, last, version := h.Partition(name.ID()), after, uint64(0)
	fill := func(upTo uint64) error { // what a trim has taken up to a revision; 0 = the end
		cut, _, err := h.Trimmed(ctx, partition)
		if err != nil {
			return err
		}
		if upTo > 0 {
			cut = min(cut, upTo)
		}
		if cut <= last {
			return nil
		}
		archived, err := h.trimmedOf(ctx, name, cut)
		if err != nil || archived == 0 {
			return err
		}
		old, err := h.archivedOf(ctx, name, archived, func(rec *events.Record) bool { return rec.Revision > last })
		if err != nil {
			return err
		}
		for i := range old {
			version = old[i].Version
			if err := yield(Message{Record: old[i]}); err != nil {
				return err
			}
		}
		last = archived
		return nil
	}
	if err := fill(upTo); err != nil || upTo > 0 && last >= upTo {
		return err
	}
	err := h.Range(ctx, Range{Partition: partition, Aggregate: name, After: last, UpTo: upTo}, func(m Message) error {
		if m.Revision > last+1 && m.Version > version+1 { // or the first one, of which it is not known what was before
			if err := fill(m.Revision - 1); err != nil {
				return err
			}
		}
		last, version = m.Revision, m.Version
		return yield(m)
	})
	if err != nil || upTo == 0 || last >= upTo { // a trim leaves the last entry
		return err
	}
	return fill(upTo)
}

// Since yields the events of an aggregate that were stored at or after from,
// oldest first, until yield returns false. In the archive an event's time is when
// it was recorded, which is not after it was stored. It fails at an entry that is
// no event.
func (h *History) Since(ctx context.Context, name events.AggregateName, from time.Time, yield func(events.Record) bool) error {
	partition := h.Partition(name.ID())
	cut, at, err := h.Trimmed(ctx, partition)
	if err != nil {
		return err
	}
	if cut == 0 || at.Before(from) {
		cut = 0 // all that was trimmed was stored before from
	} else if cut, err = h.trimmedOf(ctx, name, cut); err != nil {
		return err
	}
	if cut > 0 {
		old, err := h.archivedOf(ctx, name, cut, func(rec *events.Record) bool { return !rec.RecordedAt.Before(from) })
		if err != nil {
			return err
		}
		for i := range old {
			if !yield(old[i]) {
				return nil
			}
		}
	}
	err = h.Range(ctx, Range{Partition: partition, Aggregate: name, Since: from}, func(m Message) error {
		switch {
		case m.Bad != nil:
			return m.Bad
		case m.Revision > cut && !yield(m.Record): // up to cut the archive has yielded
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// archivePage is how many events of an aggregate one request to the archive
// brings.
const archivePage = 500

// archivedOf returns an aggregate's events up to a revision from the archive,
// oldest first, back to the first one that wanted refuses.
func (h *History) archivedOf(ctx context.Context, name events.AggregateName, upTo uint64, wanted func(*events.Record) bool) (old []events.Record, err error) {
	partition := h.Partition(name.ID())
	if h.archive == nil {
		return nil, NotArchived(partition, upTo)
	}
	for below := upTo + 1; ; {
		page, err := h.archive.Back(ctx, partition, name, below, archivePage)
		if err != nil {
			return nil, unreadable("archive.unavailable", partition, upTo, err)
		}
		for i := range page {
			if !wanted(&page[i]) {
				slices.Reverse(old)
				return old, nil
			}
			old, below = append(old, page[i]), page[i].Revision
		}
		if len(page) < archivePage {
			slices.Reverse(old)
			return old, nil
		}
	}
}

// EachLast yields the last event of every aggregate that a pattern matches, over
// all partitions, in no order. Entries that are no events are left out.
func (h *History) EachLast(ctx context.Context, pattern events.AggregateName, yield func(events.Record)) error {
	for p := range h.Partitions() {
		err := h.Range(ctx, Range{Partition: p, Aggregate: pattern, LastOnly: true}, func(m Message) error {
			if m.Bad == nil {
				yield(m.Record)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
