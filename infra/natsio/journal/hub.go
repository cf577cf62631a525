package journal

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/history"
)

// hubRing and hubBytes bound what a hub remembers for those a little behind.
const (
	hubRing  = 4096
	hubBytes = 16 << 20
)

// hub holds a partition's newest messages, filled by one reader, for any number
// of cursors.
type fanout struct {
	users int // counted by Shared

	mu    sync.Mutex
	moved *sync.Cond
	ring  [hubRing]history.Message
	first uint64 // the place of the oldest in the ring; places count up from 0
	next  uint64 // the place that the next message takes
	bytes int
	floor uint64    // every message after this revision is in the ring
	last  uint64    // revision of the newest
	heard time.Time // when the newest came
	err   error     // why the hub has ended
	quit  chan struct{}
	done  chan struct{} // the reader has ended
}

func newFanout(start uint64) *fanout {
	h := &fanout{floor: start, last: start, heard: time.Now(), quit: make(chan struct{}), done: make(chan struct{})}
	h.moved = sync.NewCond(&h.mu)
	return h
}

// fill is the hub's reader; it ends with the hub.
func (h *fanout) fill(cur history.Cursor) {
	defer close(h.done)
	defer cur.Stop()
	for {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				h.fail(cur.Err())
				return
			}
			h.add(m, cur.Messages())
		case <-h.quit:
			return
		}
	}
}

// hubTake is how many messages are added at a time: far fewer than the ring
// holds, so that nobody who was level is left behind by one addition.
const hubTake = hubRing / 4

// add takes a message, and those that wait behind it.
func (h *fanout) add(m history.Message, more <-chan history.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n, ok := 0, true; ok; n++ {
		for h.next-h.first == hubRing || h.bytes > hubBytes && h.first < h.next {
			h.drop()
		}
		h.ring[h.next%hubRing] = m
		h.next++
		h.bytes += weight(&m)
		h.last = m.Revision
		if n == hubTake-1 {
			break
		}
		select {
		case m, ok = <-more:
		default:
			ok = false
		}
	}
	h.heard = time.Now()
	h.moved.Broadcast()
}

func (h *fanout) drop() {
	old := &h.ring[h.first%hubRing]
	h.floor, h.bytes = old.Revision, h.bytes-weight(old)
	*old = history.Message{}
	h.first++
}

func weight(m *history.Message) int { return len(m.Body) + len(m.Data) + len(m.State) }

// covers tells whether all after a revision can be had here.
func (h *fanout) covers(revision uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return revision >= h.floor || h.err != nil
}

// after is the place of the first message after a revision; level is false when
// the hub does not go back so far.
func (h *fanout) after(revision uint64) (place uint64, level bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if revision < h.floor {
		return 0, false, h.err
	}
	n := sort.Search(int(h.next-h.first), func(i int) bool {
		return h.ring[(h.first+uint64(i))%hubRing].Revision > revision
	})
	return h.first + uint64(n), true, nil
}

// take waits for messages at a place, copies what fits and moves the place on.
// level is false when the place has been left behind.
func (h *fanout) take(ctx context.Context, place *uint64, buf []history.Message) (n int, level bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for *place == h.next && h.err == nil && ctx.Err() == nil {
		h.moved.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return 0, false, ctx.Err()
	case *place < h.first:
		return 0, h.err != nil, h.err
	case *place == h.next:
		return 0, false, h.err
	}
	for n < len(buf) && *place < h.next {
		buf[n] = h.ring[*place%hubRing]
		n++
		*place++
	}
	return n, true, nil
}

// wake has those who wait look again.
func (h *fanout) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moved.Broadcast()
}

func (h *fanout) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
		close(h.quit)
	}
	h.moved.Broadcast()
}

func (h *fanout) end() {
	h.fail(context.Canceled)
	<-h.done
}

func (h *fanout) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// unlessSilent ends a hub that has long not heard of what is in the journal.
func (h *fanout) unlessSilent(head uint64) {
	h.mu.Lock()
	silent := h.last < head && time.Since(h.heard) > hubSilence
	h.mu.Unlock()
	if silent {
		h.fail(errSilent)
	}
}
