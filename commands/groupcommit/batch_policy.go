package groupcommit

import (
	"sync"
	"time"
)

// costs learns what commits cost on this disk, for that decides from how many
// members on a batch pays: a batch is staged in files of its own first, which
// takes a few milliseconds whatever its size, and a disk may sync in 50 µs or
// in 5 ms.
type costs struct {
	single time.Duration // of one append among others side by side; 0 = not known
	batch  time.Duration // of a batch beyond its members; 0 = not known
	rounds int
}

const (
	// groupLeast is from where on a batch pays while the costs are not known.
	groupLeast = 6
	// memberCost is what one more member costs a batch.
	memberCost = 25 * time.Microsecond
	// lookEvery is after how many rounds the other way is tried, to learn.
	lookEvery = 64
)

// least is the number of members from which on a batch pays.
func (c *costs) least() int {
	if c.single == 0 || c.batch == 0 {
		return groupLeast
	}
	if c.single <= memberCost {
		return GroupMost + 1
	}
	return min(max(2, int(c.batch/(c.single-memberCost))), GroupMost+1)
}

// worth tells whether n go better as a batch.
func (c *costs) worth(n int) bool { return n > 1 && n >= c.least() }

// together decides how a round of n goes. Now and then it goes the other way,
// where that cannot cost much.
func (c *costs) together(n int) bool {
	c.rounds++
	least := c.least()
	if c.rounds%lookEvery == 0 && n > least/4 && n < 4*least && n >= groupLeast/2 {
		return n < least
	}
	return c.worth(n)
}

// learn takes what a round of n took.
func (c *costs) learn(batch bool, n int, took time.Duration) {
	switch {
	case batch:
		average(&c.batch, max(took-time.Duration(n)*memberCost, memberCost))
	case n > 1:
		average(&c.single, took/time.Duration(n))
	}
}

// average moves a running average an eighth of the way.
func average(a *time.Duration, next time.Duration) {
	if *a == 0 {
		*a = next
	}
	*a += (next - *a) / 8
}

// hotCosts are those of a handler: what an append costs an aggregate whose
// commands wait for each other.
type HotCosts struct {
	mu sync.Mutex
	costs
}

func (h *HotCosts) Together(n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.costs.together(n)
}

func (h *HotCosts) Learn(batch bool, n int, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if batch {
		h.costs.learn(true, n, took)
	} else {
		average(&h.single, took)
	}
}
