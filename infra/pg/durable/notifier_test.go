package durable

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/projections"
)

// told is who listens on paper: each batch takes it so long, 0 = until it is let.
type told struct {
	takes time.Duration
	let   chan struct{}
	mu    sync.Mutex
	heard []uint64 // after which revision each batch began
	again int      // how many of them came from the journal
}

func (l *told) Notify(ctx context.Context, _ int, from uint64, _ []projections.Notice) error {
	let := (<-chan time.Time)(nil)
	if l.takes > 0 {
		let = time.After(l.takes)
	}
	select {
	case <-let:
	case <-l.let:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, from)
	return nil
}

func (l *told) Again(ctx context.Context, partition int, from, to uint64) (uint64, error) {
	if err := l.Notify(ctx, partition, from, nil); err != nil {
		return from, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again++
	return to, nil
}

// tells runs a test with a teller in a bubble of its own time.
func tells(t *testing.T, takes time.Duration, test func(*teller, *told)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		l := &told{takes: takes, let: make(chan struct{})}
		of := newTeller(l, 0, func(context.Context, uint64) {})
		test(of, l)
		of.stop()
	})
}

// batch is what a transaction of one event leaves, of so many bytes.
func batch(to uint64, bytes int) written {
	return written{from: to - 1, to: to, notices: []projections.Notice{{Old: value[:bytes-256]}}}
}

var value = make([]byte, tellBytes) // of all batches

// took is how long telling of a batch held its view up.
func took(of *teller, w written) time.Duration {
	begin := time.Now()
	of.tell(w)
	return time.Since(begin)
}

// Where room is all that a batch lacks it waits for it, and only so long as
// there is none: not until everything is told.
func TestABatchWaitsForRoomAlone(t *testing.T) {
	tells(t, 50*time.Millisecond, func(of *teller, l *told) {
		for to := uint64(1); to <= 8; to++ {
			if d := took(of, batch(to, 4<<20)); d != 0 {
				t.Errorf("batch %d waited %v with room for it", to, d)
			}
		}
		for to := uint64(9); to <= 12; to++ {
			if d := took(of, batch(to, 4<<20)); d != l.takes {
				t.Errorf("batch %d waited %v, room came after %v", to, d, l.takes)
			}
		}
		of.settle(time.Minute)
		if want := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}; !slices.Equal(l.heard, want) || l.again != 0 {
			t.Errorf("heard of %v, %d from the journal", l.heard, l.again)
		}
	})
}

// Whoever waited for the last batch before it follows that, also where it is
// there before it has been noted up to where all is told: it is not left to the
// journal. Which of the two comes first is chance, hence so many.
func TestABatchFollowsTheOneItWaitedFor(t *testing.T) {
	tells(t, 50*time.Millisecond, func(of *teller, l *told) {
		for to := uint64(1); to <= 20_000; to++ {
			of.tell(batch(to, tellBytes))
		}
		of.settle(time.Minute)
		if len(l.heard) != 20_000 || l.again != 0 {
			t.Errorf("heard of %d batches, of %d from the journal", len(l.heard), l.again)
		}
	})
}

// A batch that is left to the journal leaves it those after it as well: none of
// them waits, however much is remembered. Then all goes on as before.
func TestWhatIsLeftToTheJournalHoldsNobodyUp(t *testing.T) {
	tells(t, 0, func(of *teller, l *told) {
		of.tell(batch(1, 16<<20))
		of.tell(batch(2, 16<<20))
		if d := took(of, batch(3, 1<<20)); d != tellPatience {
			t.Errorf("waited %v for room", d)
		}
		for to := uint64(4); to <= 20; to++ {
			if d := took(of, batch(to, 1<<20)); d != 0 {
				t.Errorf("batch %d waited %v for what would not help", to, d)
			}
		}
		for range 3 {
			l.let <- struct{}{}
		}
		of.settle(time.Minute)
		of.tell(batch(21, 1<<20))
		l.let <- struct{}{}
		of.settle(time.Minute)
		if want := []uint64{0, 1, 2, 20}; !slices.Equal(l.heard, want) || l.again != 1 {
			t.Errorf("heard of %v, %d from the journal", l.heard, l.again)
		}
	})
}

// However often something becomes free, a batch waits no longer than its
// patience; what was put right is remembered all the same.
func TestABatchesPatienceIsBounded(t *testing.T) {
	tells(t, 60*time.Millisecond, func(of *teller, l *told) {
		for to := uint64(1); to <= 8; to++ {
			of.tell(batch(to, 4<<20))
		}
		right := batch(8, 24<<20)
		right.from = 8
		if d := took(of, right); d != tellPatience {
			t.Errorf("what was put right waited %v", d)
		}
		if d := took(of, batch(9, 30<<20)); d != tellPatience {
			t.Errorf("waited %v", d)
		}
		of.settle(time.Minute)
		if want := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 8}; !slices.Equal(l.heard, want) || l.again != 1 {
			t.Errorf("heard of %v, %d from the journal", l.heard, l.again)
		}
	})
}

// Whoever leaves a partition does not leave a batch waiting for nothing.
func TestNobodyWaitsForATellerThatHasEnded(t *testing.T) {
	tells(t, 0, func(of *teller, _ *told) {
		of.tell(batch(1, tellBytes))
		var d time.Duration
		var waits sync.WaitGroup
		waits.Go(func() { d = took(of, batch(2, 1<<20)) })
		synctest.Wait()
		of.stop()
		waits.Wait()
		if d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

// TestWhatHasBeenToldIsForgotten: also where the queue has moved to another
// array while it was told.
func TestWhatHasBeenToldIsForgotten(t *testing.T) {
	tells(t, 0, func(of *teller, l *told) {
		of.tell(batch(1, 1<<10))
		synctest.Wait() // it is being told
		of.mu.Lock()
		full := cap(of.queue)
		of.mu.Unlock()
		for to := uint64(2); to <= uint64(full)+1; to++ {
			of.tell(batch(to, 1<<10))
		}
		of.mu.Lock()
		all := of.queue
		of.mu.Unlock()
		l.let <- struct{}{}
		synctest.Wait()
		of.mu.Lock()
		defer of.mu.Unlock()
		if len(of.queue) != len(all)-1 || all[0].notices != nil || all[1].notices == nil {
			t.Errorf("of %d batches %d are left, and the first is kept: %t", len(all), len(of.queue), all[0].notices != nil)
		}
	})
}
