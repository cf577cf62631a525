package projections

import (
	"container/heap"
	"context"
	"sync"
)

// Progress is the position of a view in each partition; readers can wait for a position.
type Progress struct {
	mu        sync.Mutex
	positions []uint64
	waiting   []waiters // by partition
}

// waiter waits for a position; reached is closed then.
type waiter struct {
	position uint64
	reached  chan struct{}
	place    int // in the heap; -1 = no longer there
}

// waiters is a heap by position: an advance wakes those that have reached theirs, not
// the thousands that may wait for a later one.
type waiters []*waiter

// Len implements heap.Interface.
func (w waiters) Len() int { return len(w) }

// Less implements heap.Interface.
func (w waiters) Less(i, j int) bool { return w[i].position < w[j].position }

// Swap implements heap.Interface.
func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].place, w[j].place = i, j
}

// Push implements heap.Interface.
func (w *waiters) Push(x any) {
	n := x.(*waiter)
	n.place = len(*w)
	*w = append(*w, n)
}

// Pop implements heap.Interface.
func (w *waiters) Pop() any {
	last := len(*w) - 1
	n := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	n.place = -1
	return n
}

// NewProgress returns a Progress at zero in every partition.
func NewProgress(partitions int) *Progress {
	return &Progress{positions: make([]uint64, partitions), waiting: make([]waiters, partitions)}
}

// At returns the position in a partition.
func (p *Progress) At(partition int) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.positions[partition]
}

// Partitions returns the number of partitions.
func (p *Progress) Partitions() int { return len(p.positions) }

// All returns a copy of all positions.
func (p *Progress) All() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]uint64(nil), p.positions...)
}

// Set advances a partition; a lower position is ignored.
func (p *Progress) Set(partition int, position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if position > p.positions[partition] {
		p.move(partition, position)
	}
}

// Reset sets a partition to the view's stored position, which may be lower when the view has lost
// rows.
func (p *Progress) Reset(partition int, position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.move(partition, position)
}

func (p *Progress) move(partition int, position uint64) {
	p.positions[partition] = position
	for w := &p.waiting[partition]; len(*w) > 0 && (*w)[0].position <= position; {
		close(heap.Pop(w).(*waiter).reached)
	}
}

// Wait returns true once the partition has reached position, false when ctx ends first.
func (p *Progress) Wait(ctx context.Context, partition int, position uint64) bool {
	p.mu.Lock()
	if p.positions[partition] >= position {
		p.mu.Unlock()
		return true
	}
	w := &waiter{position: position, reached: make(chan struct{})}
	heap.Push(&p.waiting[partition], w)
	p.mu.Unlock()
	select {
	case <-w.reached:
		return true
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.place < 0 {
		return true // reached at the same time
	}
	heap.Remove(&p.waiting[partition], w.place)
	return false
}
