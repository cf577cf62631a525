package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/history"
)

// Batching says when a runner applies the collected events.
type Batching struct {
	Threshold int           // when this many events wait
	Interval  time.Duration // or this long after the first event; 0 = at once
	Pace      time.Duration // or this long after the previous batch; no delay after a pause
	Busy      time.Duration // or, under load, this long after the previous batch, whatever the threshold: fewer, larger writes
	Max       int           // most events of a batch; batchBytes also bounds it, except for the last event
}

// batchBytes bounds the event bodies of a batch, so that a view which catches up on large values
// does not exhaust the memory.
const batchBytes = 32 << 20

// pendingBatch is a batch that is being collected.
type pendingBatch struct {
	msgs     []history.Message
	bytes    int
	capacity int // initial capacity
}

func (g *pendingBatch) add(m history.Message) {
	if g.msgs == nil {
		g.msgs = make([]history.Message, 0, g.capacity)
	}
	g.msgs = append(g.msgs, m)
	g.bytes += len(m.Body)
}

// hasRoom reports whether the batch has fewer than n events and room for more bytes.
func (g *pendingBatch) hasRoom(n int) bool { return len(g.msgs) < n && g.bytes < batchBytes }

// busyBatch is the batch size from which Batching.Busy applies: larger writes then pay off. A
// lower value delays views unnecessarily: with 8, a view that waits 2 ms at 4,000 events a second
// was always busy.
const busyBatch = 32

// collect waits for a first event and collects more as Batching says. It fails as check does, and
// returns no events when changed is closed first.
func (r *Runner) collect(ctx context.Context, cur history.Cursor, at uint64, changed <-chan struct{}) ([]history.Message, error) {
	batch := pendingBatch{capacity: min(r.lastSize+r.lastSize/4, r.Batching.Max)} // sized by the previous batch
	due := time.NewTimer(time.Until(r.checked.Add(checkInterval)))
	defer due.Stop()
	for len(batch.msgs) == 0 {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return nil, fmt.Errorf("the journal's reader ended: %w", cur.Err())
			}
			batch.add(m)
			r.setOldest(m.RecordedAt)
		case <-due.C:
			if err := r.check(ctx, cur, at); err != nil {
				return nil, err
			}
			r.checked = time.Now()
			due.Reset(checkInterval)
		case <-changed:
			return nil, nil
		case reason := <-r.Restart:
			return nil, errors.New(reason)
		case <-ctx.Done(): // collected events are still flushed
			return nil, ctx.Err()
		}
	}
	enough, wait := r.Batching.Threshold, max(r.Batching.Interval, time.Until(r.lastWrite.Add(r.Batching.Pace)))
	if r.lastSize >= busyBatch && r.Batching.Busy > 0 {
		enough, wait = r.Batching.Max, time.Until(r.lastWrite.Add(r.Batching.Busy))
	}
	full := time.NewTimer(wait)
	defer full.Stop()
	for batch.hasRoom(min(enough, r.Batching.Max)) {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return batch.msgs, nil // the next call returns the error
			}
			batch.add(m)
			continue
		case <-full.C:
		case <-ctx.Done(): // collected events are still flushed
		}
		break
	}
	r.drain(cur, &batch)
	return batch.msgs, nil
}

// drain takes the available messages without waiting.
func (r *Runner) drain(cur history.Cursor, batch *pendingBatch) {
	for batch.hasRoom(r.Batching.Max) {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return
			}
			batch.add(m)
		default:
			return
		}
	}
}
