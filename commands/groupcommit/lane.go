package groupcommit

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// lane is the queue of one partition. One round is under way at a time.
type lane struct {
	mu       sync.Mutex
	waiting  []*pending
	busy     bool
	want     int           // number of waiting appends that ends collect; 0 = collect is not running
	complete chan struct{} // signals want; capacity 1
	heavy    int64         // the largest load in the last round
	light    time.Time     // of the last append with a much smaller load

	// Only the worker uses these.
	policy policy
	last   int           // appends in the last round
	took   time.Duration // by the last round
	skip   int           // rounds after which not to wait, as waiting brought little
}

// add queues an append. It reports true when the caller must start the worker.
func (l *lane) add(p *pending) (start bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, p)
	if l.heavy >= heavyLoad && p.load < l.heavy/lightShare {
		l.light = time.Now()
	}
	if !l.busy {
		l.busy = true
		return true
	}
	if len(l.waiting) == l.want {
		l.complete <- struct{}{}
	}
	return false
}

// A round has at most MaxBatch events and roundBytes bytes of them, except for its first
// append. While a client with little under way appends too, rounds are shorter, because
// it waits for the end of the one before its own.
const (
	roundBytes = 2 << 20
	shortRound = 8               // as many times fewer events and bytes
	heavyLoad  = roundBytes / 8  // what a client has under way that delays others, as a load
	lightShare = 8               // a light client has as many times less under way than the heaviest
	lightTime  = 2 * time.Second // after its last append
)

// next takes the appends of the next round; none ends the worker. When more wait than fit,
// the first of all goes with those of the least load.
func (l *lane) next() []*pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy, l.last = false, 0
		return nil
	}
	n := l.fits()
	if n < len(l.waiting) {
		slices.SortStableFunc(l.waiting[1:], func(a, b *pending) int { return cmp.Compare(a.load, b.load) })
		n = l.fits()
	}
	round := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	l.heavy = 0
	for _, p := range round {
		l.heavy = max(l.heavy, p.load)
	}
	return round
}

// fits is how many of the waiting appends one round takes.
func (l *lane) fits() int {
	room, bytes := MaxBatch, roundBytes
	if time.Since(l.light) < lightTime {
		room, bytes = room/shortRound, bytes/shortRound
	}
	for n, p := range l.waiting {
		if room, bytes = room-len(p.writes), bytes-p.bytes; n > 0 && (room < 0 || bytes < 0) {
			return n
		}
	}
	return len(l.waiting)
}

// maxCollect bounds the wait between two rounds.
const maxCollect = 3 * time.Millisecond

// collect waits briefly for the callers of the last round to append again, if
// one batch with them would save a round: a batch of twice the size costs
// little more. It does not wait when no append is waiting, nor for some rounds
// after a wait that brought little.
func (l *lane) collect() {
	if l.skip > 0 {
		l.skip--
		return
	}
	l.mu.Lock()
	before := len(l.waiting)
	want := min(before+l.last, MaxBatch)
	if before == 0 || before == want || !l.policy.batchIsFaster(want) {
		l.mu.Unlock()
		return
	}
	l.want = want
	l.mu.Unlock()
	timeout := time.NewTimer(min(l.took/2, maxCollect))
	defer timeout.Stop()
	select {
	case <-l.complete:
	case <-timeout.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.want = 0
	select {
	case <-l.complete: // signalled as the timer fired
	default:
	}
	if len(l.waiting)-before < l.last/4 {
		l.skip = 16
	}
}
