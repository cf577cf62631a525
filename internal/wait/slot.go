package wait

import "context"

// Slot is what a request holds while it works and gives back while it waits, so that
// requests that wait do not keep others from working.
type Slot struct {
	// Leave gives the slot back. It fails when too many requests wait already; the
	// request then still holds the slot.
	Leave func() error
	// Enter takes the slot again; it blocks until there is one.
	Enter func()
	// Stop ends the waits of all requests; nil = nothing does.
	Stop context.Context

	outer *Slot
}

type slotKey struct{}

// WithSlot returns a context of a request that holds a slot, besides those that ctx has.
func WithSlot(ctx context.Context, s *Slot) context.Context {
	s.outer, _ = ctx.Value(slotKey{}).(*Slot)
	return context.WithValue(ctx, slotKey{}, s)
}

// Idle calls f, which waits and does nothing else, without the slots of ctx. It fails
// without a call when a slot cannot be left.
func Idle(ctx context.Context, f func(ctx context.Context)) error {
	innermost, _ := ctx.Value(slotKey{}).(*Slot)
	for s := innermost; s != nil; s = s.outer {
		if err := s.Leave(); err != nil {
			for left := innermost; left != s; left = left.outer {
				left.Enter()
			}
			return err
		}
		if s.Stop != nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(s.Stop, cancel)()
		}
	}
	f(ctx)
	enter(innermost)
	return nil
}

// enter takes the outer slots first, in the order in which requests take them.
func enter(s *Slot) {
	if s != nil {
		enter(s.outer)
		s.Enter()
	}
}
