package taskqueue

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// loadRetry is the pause after a load that failed.
const loadRetry = time.Second

// Run loads the tasks and follows the clock until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	var preloading sync.WaitGroup
	defer preloading.Wait()
	preloading.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case id := <-q.ahead:
				q.cfg.Preload(ctx, id)
			}
		}
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-q.wake:
		}
		timer.Reset(q.step(ctx))
	}
}

// step does what is due and returns the time until the next step.
func (q *Queue) step(ctx context.Context) time.Duration {
	q.mu.Lock()
	q.promote()
	load := !q.loaded
	if load {
		clear(q.lost)
	}
	next := time.Hour
	if q.early.Len() > 0 {
		next = max(time.Duration(q.early.all[0].notBefore-q.cfg.Now().UnixNano()), 0)
	}
	q.mu.Unlock()
	if !load {
		return next
	}
	err := q.cfg.Load(ctx, func(rec *events.Record) { q.Changed(rec.ID, rec.State, rec.Revision) })
	if err != nil {
		if ctx.Err() == nil {
			q.cfg.Log.Warn("reading the tasks that wait failed, retrying", "error", err)
		}
		return loadRetry
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.loaded = true
	close(q.loading)
	return 0
}
