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

// headerRoom is the space that an event's headers take in a message, in bytes.
const headerRoom = 4 << 10

// CheckSize refuses a file with an event that a server does not take, whose largest
// message has this many bytes.
func (c *Checked) CheckSize(largestMessage int64) error {
	if int64(c.Largest+headerRoom) > largestMessage {
		return fmt.Errorf("line %d: an event has %d bytes, and the server takes messages of at most %d bytes: raise its max_payload", c.LargestAt, c.Largest, largestMessage)
	}
	return nil
}

// Unfinished is an import that stopped: the journal has some of the events and
// stays closed.
type Unfinished struct {
	Stored, Events uint64
	err            error
}

func (u *Unfinished) Error() string {
	return fmt.Sprintf("the journal has %d of %d events and stays closed: run the same import again, and it continues there: %v", u.Stored, u.Events, u.err)
}

func (u *Unfinished) Unwrap() error { return u.err }

// Restore reads a checked file once more and writes its events into a journal.
// It skips the events that an earlier, interrupted run has written. step is
// called after each event. The error of an import that has begun is an *Unfinished.
func Restore(ctx context.Context, path string, checked *Checked, j Journal, step func()) error {
	r, file, err := open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	f := filler{journal: j, ids: checked.ids, heads: make([]uint64, checked.Header.Partitions)}
	for p := range f.heads {
		if f.heads[p], err = j.Head(ctx, p); err != nil {
			return err
		}
		if end := checked.Header.Heads[p]; f.heads[p] > end {
			return fmt.Errorf("partition %d is already at revision %d, and the file ends at %d: another program writes to this journal", p, f.heads[p], end)
		}
	}
	if err := f.run(ctx, r, step); err != nil {
		u := &Unfinished{Events: checked.Header.Events(), err: fmt.Errorf("%s: %w", path, err)}
		for _, head := range f.heads {
			u.Stored += head
		}
		return u
	}
	if r.Sum != checked.Sum {
		return fmt.Errorf("%s changed during the import: the journal stays closed", path)
	}
	return nil
}

// filler collects events into batches.
type filler struct {
	journal Journal
	ids     map[position]string
	heads   []uint64 // of the journal
	part    int
	batch   []Stored
	bytes   int
}

func (f *filler) add(ctx context.Context, ev *Event) error {
	p := ev.Partition
	if ev.Revision <= f.heads[p] {
		return nil
	}
	if p != f.part || len(f.batch) == batchEvents || f.bytes+len(ev.Body) > batchBytes {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.part, f.bytes = p, f.bytes+len(ev.Body)
	f.batch = append(f.batch, Stored{Stream: ev.Stream, Body: ev.Body, ID: f.ids[position{p, ev.Revision}]})
	return nil
}

func (f *filler) flush(ctx context.Context) error {
	if len(f.batch) == 0 {
		return nil
	}
	if err := f.journal.AppendBatch(ctx, f.part, f.heads[f.part], f.batch); err != nil {
		return err
	}
	f.heads[f.part] += uint64(len(f.batch))
	f.batch, f.bytes = f.batch[:0], 0
	return nil
}

// run writes all events of a file.
func (f *filler) run(ctx context.Context, r *Reader, step func()) error {
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return f.flush(ctx)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = f.add(ctx, &ev)
		}
		if err != nil {
			return err
		}
		step()
	}
}
