package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/history"
)

// Batching says when a runner hands its events over.
type Batching struct {
	Threshold int           // as soon as so many events wait
	Interval  time.Duration // or this long after the first; 0 = at once
	Pace      time.Duration // or this long after the batch before; nobody waits for it after a pause
	Busy      time.Duration // or, while many come, this long after the batch before, whatever the threshold: fewer, larger writes
	Max       int           // never more at a time; nor more than batchBytes, but for the last
}

// batchBytes bounds the bodies of a batch's events, so that a view that catches
// up on large values does not fill the memory with them.
const batchBytes = 32 << 20

// gathered is a batch in the making.
type gathered struct {
	msgs  []history.Message
	bytes int
	room  int // for how many is made with the first
}

func (g *gathered) add(m history.Message) {
	if g.msgs == nil {
		g.msgs = make([]history.Message, 0, g.room)
	}
	g.msgs = append(g.msgs, m)
	g.bytes += len(m.Body)
}

// upTo tells whether there is room for more in a batch of so many.
func (g *gathered) upTo(n int) bool { return len(g.msgs) < n && g.bytes < batchBytes }

// manyEvents in one batch tell that more come than are worth a write each. Fewer
// would have a view wait that could go on: with 8, one that waits 2 ms for 4,000
// events a second was always at it.
const manyEvents = 32

// stallCheck is how long a silent cursor is believed to be at the end.
const stallCheck = 5 * time.Second

// collect waits for a first event and takes what else is there, as Batching
// says. A cursor that stays silent while the journal goes on is an error. It
// comes back with nothing when changed is closed first.
func (r *Runner) collect(ctx context.Context, cur history.Cursor, at uint64, changed <-chan struct{}) ([]history.Message, error) {
	batch := gathered{room: min(r.size+r.size/4, r.Batching.Max)} // about as many as last time
	behind := false
	stall := time.NewTicker(stallCheck)
	defer stall.Stop()
	for len(batch.msgs) == 0 {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return nil, fmt.Errorf("the journal's reader ended: %w", cur.Err())
			}
			batch.add(m)
			r.waiting(m.RecordedAt)
		case <-stall.C:
			if head, err := r.head(ctx); err != nil {
				return nil, err
			} else if head > at && !behind {
				behind = true // it may have been appended this very moment
			} else if head > at {
				return nil, fmt.Errorf("the journal's reader is silent at %d while the journal is at %d (%v)", at, head, cur.Err())
			}
		case <-changed:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	enough, wait := r.Batching.Threshold, max(r.Batching.Interval, time.Until(r.wrote.Add(r.Batching.Pace)))
	if r.size >= manyEvents && r.Batching.Busy > 0 {
		enough, wait = r.Batching.Max, time.Until(r.wrote.Add(r.Batching.Busy))
	}
	due := time.NewTimer(wait)
	defer due.Stop()
	for batch.upTo(min(enough, r.Batching.Max)) {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return batch.msgs, nil // the next call says why
			}
			batch.add(m)
			continue
		case <-due.C:
		case <-ctx.Done(): // what is here is still flushed
		}
		break
	}
	r.drain(cur, &batch)
	return batch.msgs, nil
}

// drain takes what is there without waiting.
func (r *Runner) drain(cur history.Cursor, batch *gathered) {
	for batch.upTo(r.Batching.Max) {
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
