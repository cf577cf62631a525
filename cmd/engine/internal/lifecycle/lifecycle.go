// Package lifecycle runs what an engine starts in the background, and stops it in the
// reverse order within a bounded time. It knows none of the components.
package lifecycle

import (
	"context"
	"sync"
	"time"
)

// Stops are the functions that stop what has started.
type Stops []stopStep

type stopStep struct {
	stop   func(context.Context)
	server bool // of our own: no process, and no write of it, may outlive the engine
}

// Add adds a function that stops what has just started.
func (s *Stops) Add(f func(context.Context)) { *s = append(*s, stopStep{stop: f}) }

// AddServer adds the one of a server of our own.
func (s *Stops) AddServer(f func(context.Context)) { *s = append(*s, stopStep{f, true}) }

// lateStep is how long a step may take once the time for all of them is over.
const lateStep = 50 * time.Millisecond

// Run calls them, the last one first. When ctx ends it no longer waits for a step that a
// store does not answer; the next start makes good what that leaves undone. It waits for
// the engine's own servers in any case.
func (s *Stops) Run(ctx context.Context) {
	for len(*s) > 0 {
		// gofail: var stopping struct{}
		last := len(*s) - 1
		step := (*s)[last]
		*s = (*s)[:last]
		done := make(chan struct{})
		go func() {
			defer close(done)
			step.stop(ctx)
		}()
		if step.server {
			<-done
			continue
		}
		select {
		case <-done:
			continue
		case <-ctx.Done():
		}
		select {
		case <-done:
		case <-time.After(lateStep):
		}
	}
}

// InBackground runs f until stop is called; stop waits for its end.
func InBackground(f func(ctx context.Context)) (stop func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	return func(context.Context) {
		cancel()
		running.Wait()
	}
}
