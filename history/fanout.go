package history

import (
	"context"
	"sort"
	"sync"
	"time"
)

// fanoutRing and fanoutBytes bound what a fan-out remembers for users that are a
// little behind.
const (
	fanoutRing  = 4096
	fanoutBytes = 16 << 20
)

// fanout holds a partition's newest messages, filled by one reader, for any number
// of cursors.
type fanout struct {
	users int // counted by History

	mu    sync.Mutex
	moved *sync.Cond
	ring  [fanoutRing]Message
	first uint64 // the place of the oldest in the ring; places count up from 0
	next  uint64 // the place that the next message takes
	bytes int
	floor uint64    // every message after this revision is in the ring
	last  uint64    // revision of the newest
	heard time.Time // when the newest came
	err   error     // why the fan-out has ended
	quit  chan struct{}
	done  chan struct{} // the reader has ended
}

func newFanout(start uint64) *fanout {
	f := &fanout{floor: start, last: start, heard: time.Now(), quit: make(chan struct{}), done: make(chan struct{})}
	f.moved = sync.NewCond(&f.mu)
	return f
}

// fill reads into the fan-out until that ends.
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

// fanoutBatch is how many messages are added at a time: far fewer than the ring
// holds, so that one addition leaves no user behind that had caught up.
const fanoutBatch = fanoutRing / 4

// add stores a message and those that wait behind it.
func (f *fanout) add(m Message, more <-chan Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, ok := 0, true; ok; n++ {
		for f.next-f.first == fanoutRing || f.bytes > fanoutBytes && f.first < f.next {
			f.drop()
		}
		f.ring[f.next%fanoutRing] = m
		f.next++
		f.bytes += sizeOf(&m)
		f.last = m.Revision
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

func (f *fanout) drop() {
	old := &f.ring[f.first%fanoutRing]
	f.floor, f.bytes = old.Revision, f.bytes-sizeOf(old)
	*old = Message{}
	f.first++
}

func sizeOf(m *Message) int { return len(m.Body) + len(m.Data) + len(m.State) }

// covers reports whether every message after a revision is here.
func (f *fanout) covers(revision uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return revision >= f.floor || f.err != nil
}

// after returns the place of the first message after a revision; covered is false
// when the fan-out does not reach back so far.
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

// take waits for messages at a place, copies what fits and moves the place on.
// covered is false when the ring has dropped the place.
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

// wake makes waiting users look again.
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

// endIfSilent ends a fan-out that lags behind the journal and has long delivered
// nothing.
func (f *fanout) endIfSilent(head uint64) {
	f.mu.Lock()
	silent := f.last < head && time.Since(f.heard) > fanoutSilence
	f.mu.Unlock()
	if silent {
		f.fail(errSilent)
	}
}
