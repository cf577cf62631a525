package taskqueue

import (
	"container/list"
	"context"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// waiter is a request that waits for a task.
type waiter struct {
	kind, agent string
	senders     []func() bool // whether each is still connected; several have sent one command id
	given       chan *entry   // has room for one
	place       *list.Element
}

// connected returns whether the answer still has a reader.
func (w *waiter) connected() bool {
	return slices.ContainsFunc(w.senders, func(connected func() bool) bool { return connected() })
}

// await waits for a task until end.
func (q *Queue) await(ctx context.Context, w *waiter, end time.Time) (e *entry, err error) {
	stopped := false
	err = wait.Idle(ctx, func(ctx context.Context) {
		timer := time.NewTimer(time.Until(end))
		defer timer.Stop()
		select {
		case e = <-w.given:
		case <-timer.C:
		case <-ctx.Done():
			stopped = true
		}
	})
	if e != nil {
		return e, err
	}
	q.mu.Lock()
	if w.place != nil {
		q.waiting.Remove(w.place)
		w.place = nil
	}
	select {
	case e = <-w.given:
	default:
	}
	q.mu.Unlock()
	switch {
	case e != nil && (err != nil || stopped):
		q.back(e)
	case e != nil:
		return e, nil
	}
	switch {
	case err != nil:
		return nil, err
	case stopped:
		return nil, domain.Errorf(domain.Unavailable, "engine.stopping", "the engine is stopping; send the same command id again")
	}
	return nil, none(w)
}

// enlist lets a request wait; the caller holds the lock, as in all methods below.
func (q *Queue) enlist(w *waiter, first bool) {
	if first {
		w.place = q.waiting.PushFront(w)
	} else {
		w.place = q.waiting.PushBack(w)
	}
}

// waiterFor is the request that a task is given to: of those that may claim it, the one
// whose agent was served least recently, then the one that waits longest. Without a reader
// a request gets none: the task would be held until its lease ran out.
func (q *Queue) waiterFor(e *entry) (first *waiter) {
	for at := q.waiting.Front(); at != nil; at = at.Next() {
		w := at.Value.(*waiter)
		if (w.kind == "" || w.kind == e.kind) && (e.agent == "" || e.agent == w.agent) &&
			(first == nil || q.served[w.agent] < q.served[first.agent]) && w.connected() {
			first = w
		}
	}
	return first
}

func (q *Queue) give(w *waiter, e *entry) {
	q.waiting.Remove(w.place)
	w.place = nil
	q.serve(w.agent)
	w.given <- e
}

// maxServed bounds the agents whose turns are remembered.
const maxServed = 16_384

func (q *Queue) serve(agent string) {
	if len(q.served) >= maxServed {
		clear(q.served)
	}
	q.turn++
	q.served[agent] = q.turn
}
