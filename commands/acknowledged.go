package commands

import (
	"sync"
	"sync/atomic"
)

// acknowledged is the last revision that this handler has acknowledged, by
// partition.
type acknowledged struct{ last sync.Map } // of *atomic.Uint64

// raise sets a partition's revision to at least this one. It is called before the
// answer, so that a query after the answer sees it.
func (a *acknowledged) raise(partition int, revision uint64) {
	v, ok := a.last.Load(partition)
	if !ok {
		v, _ = a.last.LoadOrStore(partition, new(atomic.Uint64))
	}
	raise(v.(*atomic.Uint64), revision)
}

func (a *acknowledged) at(partition int) uint64 {
	if v, ok := a.last.Load(partition); ok {
		return v.(*atomic.Uint64).Load()
	}
	return 0
}

// raise sets a to the maximum of a and to.
func raise(a *atomic.Uint64, to uint64) {
	for old := a.Load(); old < to && !a.CompareAndSwap(old, to); old = a.Load() {
	}
}

// Acknowledged returns the last revision of a partition that this handler has
// acknowledged to a client; 0 = none since its start.
func (h *Handler) Acknowledged(partition int) uint64 { return h.acked.at(partition) }
