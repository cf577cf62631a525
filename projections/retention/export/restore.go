package export

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tidemark-engine/tidemark/events"
)

// Journal is the empty journal that an import fills.
type Journal interface {
	Head(ctx context.Context, partition int) (uint64, error)
	// AppendBatch appends a batch after a revision, all or nothing.
	AppendBatch(ctx context.Context, partition int, after uint64, batch []Stored) error
}

// Stored is one event of a batch. ID is the message id for the journal's
// duplicate window; empty = none.
type Stored struct {
	Stream events.AggregateName
	Body   []byte
	ID     string
}

// Bounds of a batch, whose events share one sync of the disk.
const (
	batchEvents = 256
	batchBytes  = 4 << 20
)

// Restore reads a checked file once more and writes its events into a journal.
// It skips the events that an earlier, interrupted run has written. step is
// called after each event.
func Restore(ctx context.Context, path string, checked *Checked, j Journal, step func()) error {
	r, file, err := Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	f := filler{ctx: ctx, journal: j, ids: checked.ids, heads: make([]uint64, checked.Header.Partitions)}
	for p := range f.heads {
		if f.heads[p], err = j.Head(ctx, p); err != nil {
			return err
		}
		if end := checked.Header.Heads[p]; f.heads[p] > end {
			return fmt.Errorf("partition %d is already at revision %d, and the file ends at %d: another program writes to this journal", p, f.heads[p], end)
		}
	}
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = f.add(&ev)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		step()
	}
	if err := f.flush(); err != nil {
		return err
	}
	if r.Sum != checked.Sum {
		return fmt.Errorf("%s changed during the import: the journal stays closed", path)
	}
	return nil
}

// filler collects events into batches.
type filler struct {
	ctx     context.Context
	journal Journal
	ids     map[position]string
	heads   []uint64 // of the journal
	part    int
	batch   []Stored
	bytes   int
}

func (f *filler) add(ev *Event) error {
	p := ev.Partition
	if ev.Revision <= f.heads[p] {
		return nil
	}
	if p != f.part || len(f.batch) == batchEvents || f.bytes+len(ev.Body) > batchBytes {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.part, f.bytes = p, f.bytes+len(ev.Body)
	f.batch = append(f.batch, Stored{Stream: ev.Stream, Body: ev.Body, ID: f.ids[position{p, ev.Revision}]})
	return nil
}

func (f *filler) flush() error {
	if len(f.batch) == 0 {
		return nil
	}
	if err := f.journal.AppendBatch(f.ctx, f.part, f.heads[f.part], f.batch); err != nil {
		return err
	}
	f.heads[f.part] += uint64(len(f.batch))
	f.batch, f.bytes = f.batch[:0], 0
	return nil
}
