package groupcommit

import (
	"sync"
	"time"
)

// MaxBatch is the largest batch. Larger ones bring no gain (measured on two
// cores); the server accepts 1,000.
const MaxBatch = 512

// policy decides from how many appends on one atomic batch is faster than
// parallel appends. The server stages a batch in separate files first, which
// takes a few milliseconds whatever its size; a disk may sync in 50 µs or in
// 5 ms. The policy measures both.
type policy struct {
	single  time.Duration // cost of one of several parallel appends; 0 = not measured
	batch   time.Duration // fixed cost of a batch; 0 = not measured
	decided int
}

const (
	// defaultMinimum is the smallest batch while the costs are not measured.
	defaultMinimum = 6
	// memberCost is what one more append adds to the cost of a batch.
	memberCost = 25 * time.Microsecond
	// exploreEvery is the number of decisions after which the slower way is
	// measured once.
	exploreEvery = 64
)

// minimum is the smallest number of appends for which a batch is faster.
func (p *policy) minimum() int {
	if p.single == 0 || p.batch == 0 {
		return defaultMinimum
	}
	if p.single <= memberCost {
		return MaxBatch + 1
	}
	return min(max(2, int(p.batch/(p.single-memberCost))), MaxBatch+1)
}

// batchIsFaster reports whether n appends are faster as a batch.
func (p *policy) batchIsFaster(n int) bool { return n > 1 && n >= p.minimum() }

// useBatch decides how to send n appends. Every exploreEvery decisions it takes
// the slower way, where n is close enough to the minimum to cost little.
func (p *policy) useBatch(n int) bool {
	p.decided++
	minimum := p.minimum()
	if p.decided%exploreEvery == 0 && n > minimum/4 && n < 4*minimum && n >= defaultMinimum/2 {
		return n < minimum
	}
	return p.batchIsFaster(n)
}

// measured records how long n appends took.
func (p *policy) measured(batch bool, n int, took time.Duration) {
	switch {
	case batch:
		average(&p.batch, max(took-time.Duration(n)*memberCost, memberCost))
	case n > 1:
		average(&p.single, took/time.Duration(n))
	}
}

// average updates an exponential moving average with weight 1/8.
func average(a *time.Duration, next time.Duration) {
	if *a == 0 {
		*a = next
	}
	*a += (next - *a) / 8
}

// Policy decides whether the commands that wait for one aggregate go into one
// batch or one after the other. It is safe for concurrent use.
type Policy struct {
	mu sync.Mutex
	policy
}

// UseBatch decides how to append for n commands.
func (p *Policy) UseBatch(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.useBatch(n)
}

// Measured records how long the append for n commands took.
func (p *Policy) Measured(batch bool, n int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if batch {
		p.measured(true, n, took)
	} else {
		average(&p.single, took)
	}
}
