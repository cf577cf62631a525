package journal

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/history"
)

// Shared is the journal as the views of one engine read it: those that are
// level share one reader a partition, so that each event is delivered and
// decoded once. A view that falls behind what the hub remembers reads for
// itself until it is level again, and so holds nobody up.
type Shared struct {
	*Journal
	mu   sync.Mutex
	hubs map[int]*fanout
}

var _ history.Trimmable = (*Shared)(nil)

// NewShared is a journal for readers who run side by side.
func NewShared(j *Journal) *Shared { return &Shared{Journal: j, hubs: map[int]*fanout{}} }

// Read implements projections.Source.
func (s *Shared) Read(ctx context.Context, partition int, after uint64) (history.Cursor, error) {
	h, err := s.enter(ctx, partition, after)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &sharedCursor{out: make(chan history.Message, cursorBuffer), ctx: ctx, cancel: cancel, shared: s, hub: h}
	c.running.Go(func() { c.run(partition, after) })
	return c, nil
}

// hubSilence is how long a hub may lag behind the journal without a word.
const hubSilence = 2 * time.Second

var errSilent = errors.New("natsio: the journal's reader has gone silent")

// enter takes a place at the partition's hub; one that is dead is replaced. A
// new one begins where its first reader is, or at the head if that is far.
func (s *Shared) enter(ctx context.Context, partition int, after uint64) (*fanout, error) {
	head, err := s.Head(ctx, partition)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hubs[partition]
	if h != nil {
		h.unlessSilent(head)
	}
	if h == nil || h.failure() != nil {
		start := head
		if after <= head && head-after <= hubRing/2 {
			start = after
		}
		cur, err := s.Journal.Read(context.WithoutCancel(ctx), partition, start)
		if err != nil {
			return nil, err
		}
		h = newFanout(start)
		s.hubs[partition] = h
		go h.fill(cur)
	}
	h.users++
	return h, nil
}

// leave gives a place back; the last one to go ends the hub.
func (s *Shared) leave(h *fanout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.users--; h.users > 0 {
		return
	}
	for p, there := range s.hubs {
		if there == h {
			delete(s.hubs, p)
		}
	}
	h.end()
}

// sharedCursor is one view's place in a partition.
type sharedCursor struct {
	out     chan history.Message
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	shared  *Shared
	hub     *fanout

	mu  sync.Mutex
	err error
}

// run delivers for ever: from the hub, and where that does not go back far
// enough, from a reader of its own.
func (c *sharedCursor) run(partition int, last uint64) {
	defer close(c.out)
	stop := context.AfterFunc(c.ctx, c.hub.wake)
	defer stop()
	buf := make([]history.Message, 64)
	for c.ctx.Err() == nil {
		place, level, err := c.hub.after(last)
		if err == nil && !level {
			last, err = c.alone(partition, last)
		}
		for level && err == nil {
			var n int
			if n, level, err = c.hub.take(c.ctx, &place, buf); err == nil {
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

// pass hands on what is after last.
func (c *sharedCursor) pass(msgs []history.Message, last uint64) (uint64, error) {
	for i := range msgs {
		if msgs[i].Revision <= last {
			continue
		}
		if !hand(c.out, &msgs[i], c.ctx.Done()) {
			return last, c.ctx.Err()
		}
		last = msgs[i].Revision
	}
	return last, nil
}

// alone reads for itself until the hub covers what comes next.
func (c *sharedCursor) alone(partition int, last uint64) (uint64, error) {
	cur, err := c.shared.Journal.Read(c.ctx, partition, last)
	if err != nil {
		return last, err
	}
	defer cur.Stop()
	for !c.hub.covers(last) {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return last, cur.Err()
			}
			if last, err = c.pass([]history.Message{m}, last); err != nil {
				return last, err
			}
		case <-c.ctx.Done():
			return last, c.ctx.Err()
		}
	}
	return last, nil
}

func (c *sharedCursor) Messages() <-chan history.Message { return c.out }

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
	c.shared.leave(c.hub)
}
