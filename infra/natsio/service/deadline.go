package service

import (
	"context"
	"sync"
	"time"
)

// deadlineContext is a context with a deadline that creates its timer on the first
// call of Done: most queries are answered from memory and do not wait.
type deadlineContext struct {
	context.Context // without the deadline
	deadline        time.Time

	mu     sync.Mutex
	ended  bool
	timed  context.Context // nil until Done is called
	cancel context.CancelFunc
}

func newDeadlineContext(ctx context.Context, deadline time.Time) *deadlineContext {
	return &deadlineContext{Context: ctx, deadline: deadline}
}

// Deadline implements context.Context.
func (c *deadlineContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context.
func (c *deadlineContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.ended {
			c.cancel()
		}
	}
	return c.timed.Done()
}

// Err implements context.Context.
func (c *deadlineContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.timed != nil:
		return c.timed.Err()
	case c.Context.Err() != nil:
		return c.Context.Err()
	case c.ended:
		return context.Canceled
	case time.Now().After(c.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// end cancels the context and releases its timer.
func (c *deadlineContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended = true; c.cancel != nil {
		c.cancel()
	}
}
