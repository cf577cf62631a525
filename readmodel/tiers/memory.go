package tiers

import (
	"bytes"
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// Memory is the first tier: entries by key, kept caught up by the journal. Every event is written
// through, so an entry in memory is as new as the tail's position. A row from a lower tier is
// accepted only if it is provably that new: each stripe of keys records its last event, and the
// lower tier must have read at least that far.
type Memory struct {
	cache *otter.Cache[memoryKey, *memoryRow]
	seed  maphash.Seed
	last  [][]atomic.Uint64 // by partition and stripe: revision of the last applied event
	start []atomic.Uint64   // by partition: where the tail began, plus one; 0 = not started
	tail  Positions
}

// Positions is how far a reader has read each partition.
type Positions interface{ At(partition int) uint64 }

type memoryKey struct{ agent, key string }

// memoryRow is an entry or a missing one: deleted at its revision or, with revision 0, never
// written.
type memoryRow struct {
	entry   readmodel.Entry
	deleted bool
}

const stripes = 1 << 14

// missingTTL bounds how long an entry is cached as never written. It is short because such rows
// are rarely reused, and a wrong one would hide an entry.
const missingTTL = 30 * time.Second

// clockStep is the resolution of the TTL's clock. The TTL is minutes, and a precise clock would
// cost more than the rest of a read.
const clockStep = 100 * time.Millisecond

// MemoryConfig configures the tier.
type MemoryConfig struct {
	Bytes      uint64        // default 128 MiB
	TTL        time.Duration // since the last write; default 5 min
	Partitions int
	Tail       Positions   // how far the engine has read the journal
	Clock      otter.Clock // of the TTL; nil = the system clock with a resolution of clockStep
}

// NewMemory returns an empty tier.
func NewMemory(cfg MemoryConfig) *Memory {
	if cfg.Bytes == 0 {
		cfg.Bytes = 128 << 20
	}
	if cfg.TTL == 0 {
		cfg.TTL = 5 * time.Minute
	}
	m := &Memory{seed: maphash.MakeSeed(), tail: cfg.Tail,
		last: make([][]atomic.Uint64, cfg.Partitions), start: make([]atomic.Uint64, cfg.Partitions)}
	for p := range m.last {
		m.last[p] = make([]atomic.Uint64, stripes)
	}
	if cfg.Clock == nil {
		cfg.Clock = otter.NewCoarseClock(clockStep)
	}
	m.cache = otter.Must(&otter.Options[memoryKey, *memoryRow]{
		MaximumWeight: cfg.Bytes,
		Weigher: func(k memoryKey, r *memoryRow) uint32 {
			return uint32(360 + len(k.agent) + len(k.key) + len(r.entry.Value))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[memoryKey, *memoryRow]) time.Duration {
			if e.Value.entry.Revision == 0 {
				return min(cfg.TTL, missingTTL)
			}
			return cfg.TTL
		}),
		Clock: cfg.Clock,
	})
	return m
}

// get returns the row of a key; a row may be a deletion.
func (m *Memory) get(agent, key string) (*memoryRow, bool) {
	return m.cache.GetIfPresent(memoryKey{agent, key})
}

// Start records the head from which the engine follows a partition, and returns that of the first
// call, which alone counts. Before the start, and afterwards for older rows, nothing is cached: no
// event would correct such a row.
func (m *Memory) Start(partition int, head uint64) uint64 {
	m.start[partition].CompareAndSwap(0, head+1)
	return m.start[partition].Load() - 1
}

// Reset empties the tier, as it was before Start. Nothing may write to it
// meanwhile.
func (m *Memory) Reset() {
	for p := range m.last {
		m.Forget(p)
	}
}

// Forget drops all rows, because a partition of the journal is not the one that they were read from.
func (m *Memory) Forget(partition int) {
	m.start[partition].Store(0) // nothing is cached until the next Start
	for i := range m.last[partition] {
		m.last[partition][i].Store(0)
	}
	m.cache.InvalidateAll()
}

// follows reports whether every event after asOf is applied.
func (m *Memory) follows(partition int, asOf uint64) bool {
	start := m.start[partition].Load()
	return start > 0 && asOf >= start-1
}

// Apply writes an entry's event through. Events of one key may come twice and in any order; the
// newest stays.
func (m *Memory) Apply(partition int, e readmodel.Entry, deleted bool) {
	raise(&m.last[partition][m.stripe(e.Agent, e.Key)], e.Revision)
	if m.follows(partition, e.Revision) {
		// An event up to the tail's position may be older than one whose row was
		// evicted since.
		m.set(&memoryRow{entry: e, deleted: deleted}, func(found bool) bool { return found || e.Revision > m.tail.At(partition) })
	}
}

// fill caches a row from a lower tier that had read the partition up to asOf.
func (m *Memory) fill(partition int, e readmodel.Entry, asOf uint64) {
	m.insert(partition, &memoryRow{entry: e}, asOf)
}

// fillMissing caches a missing entry, as of a partition that was read up to asOf: deleted at
// revision, or never written when that is 0. Any later event replaces the row.
func (m *Memory) fillMissing(partition int, agent, key string, revision, asOf uint64) {
	// The strings share memory with the query, which would stay reachable.
	e := readmodel.Entry{Agent: strings.Clone(agent), Key: strings.Clone(key), Revision: revision}
	m.insert(partition, &memoryRow{entry: e, deleted: true}, asOf)
}

// insert sets a row if no event of its stripe is newer than asOf.
func (m *Memory) insert(partition int, row *memoryRow, asOf uint64) {
	if m.follows(partition, asOf) {
		last := &m.last[partition][m.stripe(row.entry.Agent, row.entry.Key)]
		// Apply raises last before it sets its row: the event is seen
		// here even if its row was evicted since or is set after this one.
		m.set(row, func(bool) bool { return asOf >= last.Load() })
	}
}

// Invalidate removes a row because of an event that cannot be folded: the row before it is stale.
func (m *Memory) Invalidate(partition int, agent, key string, revision uint64) {
	raise(&m.last[partition][m.stripe(agent, key)], revision)
	m.Drop(agent, key)
}

// Drop removes a row; the next read fills it again.
func (m *Memory) Drop(agent, key string) { m.cache.Invalidate(memoryKey{agent, key}) }

// DropAgent removes all rows of an agent. It scans the whole tier: use it only for agents with
// very many keys.
func (m *Memory) DropAgent(agent string) {
	for k := range m.cache.Keys() {
		if k.agent == agent {
			m.cache.Invalidate(k)
		}
	}
}

// set keeps the newer of two rows if may returns true. may runs while the key is locked.
func (m *Memory) set(row *memoryRow, may func(found bool) bool) {
	m.cache.Compute(memoryKey{row.entry.Agent, row.entry.Key},
		func(old *memoryRow, found bool) (*memoryRow, otter.ComputeOp) {
			if found && old.entry.Revision >= row.entry.Revision || !may(found) {
				return old, otter.CancelOp
			}
			row.entry.Value = bytes.Clone(row.entry.Value) // the value shares memory with an event or a message, which would stay reachable
			return row, otter.WriteOp
		})
}

func (m *Memory) stripe(agent, key string) uint64 {
	return (maphash.String(m.seed, agent)*31 ^ maphash.String(m.seed, key)) % stripes
}

// raise sets a to the maximum of a and to.
func raise(a *atomic.Uint64, to uint64) {
	for {
		old := a.Load()
		if old >= to || a.CompareAndSwap(old, to) {
			return
		}
	}
}
