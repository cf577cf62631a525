package service

import (
	"context"
	"sync"
	"time"
)

// patience is a context with a deadline that sets no timer until somebody waits
// for it: most queries are answered from memory, and nobody does.
type deadlineContext struct {
	context.Context // without the deadline
	deadline        time.Time

	mu     sync.Mutex
	ended  bool
	timed  context.Context // nil until somebody waits
	cancel context.CancelFunc
}

func newDeadlineContext(ctx context.Context, deadline time.Time) *deadlineContext {
	return &deadlineContext{Context: ctx, deadline: deadline}
}

// Deadline implements context.Context.
func (p *deadlineContext) Deadline() (time.Time, bool) { return p.deadline, true }

// Done implements context.Context.
func (p *deadlineContext) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timed == nil {
		p.timed, p.cancel = context.WithDeadline(p.Context, p.deadline)
		if p.ended {
			p.cancel()
		}
	}
	return p.timed.Done()
}

// Err implements context.Context.
func (p *deadlineContext) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.timed != nil:
		return p.timed.Err()
	case p.Context.Err() != nil:
		return p.Context.Err()
	case p.ended:
		return context.Canceled
	case time.Now().After(p.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// end lets go of whoever still waits, and of the timer, if there is one.
func (p *deadlineContext) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended = true; p.cancel != nil {
		p.cancel()
	}
}
