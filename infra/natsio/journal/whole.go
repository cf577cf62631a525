package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Whole is the journal as commands and reactors read it: what was trimmed of it
// is answered by the archive, so that a command id is found for ever.
type Whole struct {
	*Journal
	Archive history.Archive // nil = without SQL

	marks []atomic.Pointer[trimMark] // by partition; shared by all copies
}

// NewWhole joins a journal with its archive; nil = without SQL.
func NewWhole(j *Journal, a history.Archive) Whole {
	return Whole{Journal: j, Archive: a, marks: make([]atomic.Pointer[trimMark], j.Partitions())}
}

var (
	_ history.Journal = Whole{}
	_ history.Batcher = Whole{}
)

// At implements commands.Journal.
func (w Whole) At(ctx context.Context, partition int, revision uint64) (events.Record, error) {
	rec, err := w.Journal.At(ctx, partition, revision)
	if !errors.Is(err, jetstream.ErrMsgNotFound) || w.Archive == nil {
		return rec, err
	}
	cut, look := w.Trimmed(ctx, partition)
	if look != nil || revision > cut {
		return rec, errors.Join(err, look)
	}
	bad := err
	found := w.Archive.Each(ctx, partition, revision-1, revision, func(m history.Message) error {
		rec, bad = m.Record, m.Bad
		return nil
	})
	return rec, errors.Join(found, bad)
}

// archivedPage is how many events of a stream are asked of the archive at once.
const archivedPage = 200

// Since implements commands.Journal. In the archive an event's time is when it
// was recorded, which is not after it was stored.
func (w Whole) Since(ctx context.Context, s events.Stream, from time.Time, yield func(events.Record) bool) error {
	partition := w.Partition(s.ID())
	cut, at, err := w.trimmed(ctx, partition)
	if err != nil {
		return err
	}
	if cut == 0 || at.Before(from) { // what is gone was stored before from
		return w.Journal.Since(ctx, s, from, yield)
	}
	if w.Archive == nil {
		return fmt.Errorf("%w: partition %d is trimmed up to %d and there is no SQL", history.ErrNotArchived, partition, cut)
	}
	var old []events.Record
	for below := cut + 1; below > 0; {
		page, err := w.Archive.Back(ctx, partition, s, below, archivedPage)
		if err != nil {
			return err
		}
		below = 0
		for _, rec := range page {
			if rec.RecordedAt.Before(from) {
				below = 0
				break
			}
			old, below = append(old, rec), rec.Revision
		}
		if len(page) < archivedPage {
			break
		}
	}
	for _, rec := range slices.Backward(old) {
		if !yield(rec) {
			return nil
		}
	}
	goOn := true
	return w.Journal.Since(ctx, s, from, func(rec events.Record) bool {
		if rec.Revision > cut { // else the archive has told it
			goOn = goOn && yield(rec)
		}
		return goOn
	})
}
