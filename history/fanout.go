package history

import (
	"context"
	"sort"
	"sync"
	"time"
)

// fanoutRing and fanoutBytes limit the messages and bytes that a fan-out keeps for
// cursors that lag.
const (
	fanoutRing  = 4096
	fanoutBytes = 16 << 20
)

// fanout keeps the newest messages of a partition, read by one reader, for any
// number of cursors.
type fanout struct {
	users int // cursors; guarded by History.mu

	mu    sync.Mutex
	moved *sync.Cond
	ring  [fanoutRing]Message
	first uint64 // index of the oldest message; indexes count up from 0
	next  uint64 // index of the next message
	bytes int
	floor uint64    // every message read after this revision is in the ring
	last  uint64    // revision of the newest message
	heard time.Time // arrival of the newest message
	err   error     // set when the fan-out has ended
	quit  chan struct{}
	done  chan struct{} // the reader has ended
}

func newFanout(start uint64) *fanout {
	f := &fanout{floor: start, last: start, heard: time.Now(), quit: make(chan struct{}), done: make(chan struct{})}
	f.moved = sync.NewCond(&f.mu)
	return f
}

// fill adds the messages of cur until cur or the fan-out ends.
func (f *fanout) fill(cur Cursor) {
	defer close(f.done)
	defer cur.Stop()
	for {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				f.fail(cur.Err())
				return
			}
			f.add(m, cur.Messages())
		case <-f.quit:
			return
		}
	}
}

// fanoutBatch is the number of messages added at a time: much smaller than the ring,
// so that no cursor that has caught up misses a message of one addition.
const fanoutBatch = fanoutRing / 4

// add stores m and the messages that are ready in more.
func (f *fanout) add(m Message, more <-chan Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, ok := 0, true; ok; n++ {
		f.put(&m)
		if n == fanoutBatch-1 {
			break
		}
		select {
		case m, ok = <-more:
		default:
			ok = false
		}
	}
	f.heard = time.Now()
	f.moved.Broadcast()
}

// put stores a message in place of the oldest ones that it leaves no room for.
func (f *fanout) put(m *Message) {
	for f.next-f.first == fanoutRing || f.bytes > fanoutBytes && f.first < f.next {
		f.drop()
	}
	f.ring[f.next%fanoutRing] = *m
	f.next++
	f.bytes += sizeOf(m)
	f.last = m.Revision
}

func (f *fanout) drop() {
	old := &f.ring[f.first%fanoutRing]
	f.floor, f.bytes = old.Revision, f.bytes-sizeOf(old)
	*old = Message{}
	f.first++
}

func sizeOf(m *Message) int { return len(m.Body) + len(m.Data) + len(m.State) }

// newest returns the newest message in the ring.
func (f *fanout) newest() (m Message, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == f.first {
		return m, false
	}
	return f.ring[(f.next-1)%fanoutRing], true
}

// covers reports whether the ring has every message after a revision, or the
// fan-out has ended.
func (f *fanout) covers(revision uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return revision >= f.floor || f.err != nil
}

// after returns the index of the first message after a revision; covered is false
// if the ring has already dropped that message.
func (f *fanout) after(revision uint64) (place uint64, covered bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if revision < f.floor {
		return 0, false, f.err
	}
	n := sort.Search(int(f.next-f.first), func(i int) bool {
		return f.ring[(f.first+uint64(i))%fanoutRing].Revision > revision
	})
	return f.first + uint64(n), true, nil
}

// take waits for a message at an index, copies messages to buf and advances the
// index. covered is false if the ring has dropped the message.
func (f *fanout) take(ctx context.Context, place *uint64, buf []Message) (n int, covered bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for *place == f.next && f.err == nil && ctx.Err() == nil {
		f.moved.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return 0, false, ctx.Err()
	case *place < f.first:
		return 0, f.err != nil, f.err
	case *place == f.next:
		return 0, false, f.err
	}
	for n < len(buf) && *place < f.next {
		buf[n] = f.ring[*place%fanoutRing]
		n++
		*place++
	}
	return n, true, nil
}

// wake wakes the cursors that wait in take.
func (f *fanout) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moved.Broadcast()
}

func (f *fanout) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		close(f.quit)
	}
	f.moved.Broadcast()
}

func (f *fanout) end() {
	f.fail(context.Canceled)
	<-f.done
}

func (f *fanout) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// endIfSilent ends a fan-out that lags behind head and has received nothing for
// fanoutSilence.
func (f *fanout) endIfSilent(head uint64) {
	f.mu.Lock()
	silent := f.last < head && time.Since(f.heard) > fanoutSilence
	f.mu.Unlock()
	if silent {
		f.fail(errSilent)
	}
}
