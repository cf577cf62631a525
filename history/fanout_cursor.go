package history

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Cursors that are near the head of a partition share one reader of the journal, so
// that each event is delivered and decoded once. A cursor that lags by more than the
// fan-out keeps uses its own reader until it has caught up, so that it does not slow
// the others.

// share returns a cursor that follows a partition through its fan-out.
func (h *History) share(ctx context.Context, partition int, after uint64) (Cursor, error) {
	f, err := h.join(ctx, partition, after)
	if err != nil {
		return nil, err
	}
	return newSharedCursor(ctx, f, after, func(ctx context.Context, after uint64) (Cursor, error) {
		return h.JournalStore.Read(ctx, partition, after)
	}, func() { h.leave(f) }), nil
}

// fanoutSilence is how long a fan-out that lags behind the journal may receive
// nothing.
const fanoutSilence = 2 * time.Second

var errSilent = errors.New("the reader of the journal has gone silent")

// join registers a cursor with the fan-out of a partition and replaces a fan-out
// that has ended. A new fan-out starts at after, or at the head if that is far ahead.
func (h *History) join(ctx context.Context, partition int, after uint64) (*fanout, error) {
	h.checkFanout(ctx, partition)
	head, err := h.Head(ctx, partition)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.shared[partition]
	if f != nil {
		f.endIfSilent(head)
	}
	if f == nil || f.failure() != nil {
		start := head
		if after <= head && head-after <= fanoutRing/2 {
			start = after
		}
		cur, err := h.JournalStore.Read(context.WithoutCancel(ctx), partition, start)
		if err != nil {
			return nil, err
		}
		f = newFanout(start)
		h.shared[partition] = f
		go f.fill(cur)
	}
	f.users++
	return f, nil
}

// checkFanout ends a fan-out whose newest message is not in the journal: the journal
// was restored from an older copy, and the fan-out has what it lost.
func (h *History) checkFanout(ctx context.Context, partition int) {
	h.mu.Lock()
	f := h.shared[partition]
	h.mu.Unlock()
	if f == nil {
		return
	}
	if m, ok := f.newest(); ok && m.Bad == nil {
		digest, found, err := h.DigestAt(ctx, partition, m.Revision)
		if err != nil || found && digest == m.Digest {
			return
		}
		if cut, _, err := h.Trimmed(ctx, partition); err == nil && (found || m.Revision > cut) {
			f.fail(errReplaced)
		}
	}
}

var errReplaced = errors.New("the journal is not the one that its reader began with")

// leave unregisters a cursor; the last one ends the fan-out.
func (h *History) leave(f *fanout) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	for p, there := range h.shared {
		if there == f {
			delete(h.shared, p)
		}
	}
	f.end()
}

// sharedCursor is a cursor that reads from a fan-out, and with read what the fan-out
// does not cover.
type sharedCursor struct {
	out     chan Message
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	fanout  *fanout
	read    func(ctx context.Context, after uint64) (Cursor, error)
	leave   func()

	mu  sync.Mutex
	err error
}

func newSharedCursor(ctx context.Context, f *fanout, after uint64, read func(context.Context, uint64) (Cursor, error), leave func()) *sharedCursor {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &sharedCursor{out: make(chan Message, cursorBuffer), ctx: ctx, cancel: cancel, fanout: f, read: read, leave: leave}
	c.running.Go(func() { c.run(after) })
	return c
}

// run delivers messages until the cursor stops or fails: from the fan-out, or from
// its own reader while the fan-out does not cover the next message.
func (c *sharedCursor) run(last uint64) {
	defer close(c.out)
	stop := context.AfterFunc(c.ctx, c.fanout.wake)
	defer stop()
	buf := make([]Message, 64)
	for c.ctx.Err() == nil {
		place, covered, err := c.fanout.after(last)
		if err == nil && !covered {
			last, err = c.catchUp(last)
		}
		for covered && err == nil {
			var n int
			if n, covered, err = c.fanout.take(c.ctx, &place, buf); err == nil {
				last, err = c.pass(buf[:n], last)
			}
		}
		if err != nil && c.ctx.Err() == nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
	}
}

// pass delivers the messages after revision last and returns the last revision
// delivered.
func (c *sharedCursor) pass(msgs []Message, last uint64) (uint64, error) {
	for i := range msgs {
		if msgs[i].Revision <= last {
			continue
		}
		if !Deliver(c.out, &msgs[i], c.ctx.Done()) {
			return last, c.ctx.Err()
		}
		last = msgs[i].Revision
	}
	return last, nil
}

// catchUp delivers from its own reader until the fan-out covers the next message.
func (c *sharedCursor) catchUp(last uint64) (uint64, error) {
	cur, err := c.read(c.ctx, last)
	if err != nil {
		return last, err
	}
	defer cur.Stop()
	for !c.fanout.covers(last) {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return last, cur.Err()
			}
			if last, err = c.pass([]Message{m}, last); err != nil {
				return last, err
			}
		case <-c.ctx.Done():
			return last, c.ctx.Err()
		}
	}
	return last, nil
}

func (c *sharedCursor) Messages() <-chan Message { return c.out }

func (c *sharedCursor) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *sharedCursor) Stop() {
	if c.ctx.Err() != nil {
		return
	}
	c.cancel()
	c.running.Wait()
	c.leave()
}

// The buffer between a reader and its user is limited in messages and, roughly, in
// bytes.
const (
	cursorBuffer = 1024
	cursorBytes  = 16 << 20
)

// Deliver sends m to out and returns true, or returns false if stop closes first. It
// waits while about 16 MiB of messages are buffered in out.
func Deliver(out chan<- Message, m *Message, stop <-chan struct{}) bool {
	for few := max(1, cursorBytes/max(1, len(m.Body))); few < cursorBuffer && len(out) >= few; {
		select {
		case <-time.After(time.Millisecond): // writing this many bytes takes longer
		case <-stop:
			return false
		}
	}
	select {
	case out <- *m:
		return true
	case <-stop:
		return false
	}
}
