package projections

import (
	"context"
	"sync"
)

// Progress is the position of a view in each partition; readers can wait for a position.
type Progress struct {
	mu        sync.Mutex
	positions []uint64
	moved     chan struct{}
}

// NewProgress returns a Progress at zero in every partition.
func NewProgress(partitions int) *Progress {
	return &Progress{positions: make([]uint64, partitions), moved: make(chan struct{})}
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
	if position <= p.positions[partition] {
		return
	}
	p.positions[partition] = position
	close(p.moved)
	p.moved = make(chan struct{})
}

// Reset sets a partition to the view's stored position, which may be lower when the view has lost
// rows.
func (p *Progress) Reset(partition int, position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.positions[partition] = position
	close(p.moved)
	p.moved = make(chan struct{})
}

// Wait returns true once the partition has reached position, false when ctx ends first.
func (p *Progress) Wait(ctx context.Context, partition int, position uint64) bool {
	for {
		p.mu.Lock()
		reached, moved := p.positions[partition] >= position, p.moved
		p.mu.Unlock()
		if reached {
			return true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}
