package projections

import (
	"context"
	"sync"
)

// Progress is how far a view has come, per partition, for those who wait.
type Progress struct {
	mu        sync.Mutex
	positions []uint64
	moved     chan struct{}
}

// NewProgress starts at zero in every partition.
func NewProgress(partitions int) *Progress {
	return &Progress{positions: make([]uint64, partitions), moved: make(chan struct{})}
}

// At is the position in a partition.
func (p *Progress) At(partition int) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.positions[partition]
}

// Partitions is how many there are.
func (p *Progress) Partitions() int { return len(p.positions) }

// All is a copy of all positions.
func (p *Progress) All() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]uint64(nil), p.positions...)
}

// Set moves a partition on; it never goes back.
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

// Reset puts a partition where its view really is: back, where the view has
// lost rows that it had.
func (p *Progress) Reset(partition int, position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.positions[partition] = position
	close(p.moved)
	p.moved = make(chan struct{})
}

// Wait returns true when the partition has reached position, false when ctx
// ends first.
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
