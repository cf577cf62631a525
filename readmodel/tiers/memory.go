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

// Memory is the first tier: entries by key, kept level by the journal itself.
// Every event that passes is written through, so an entry found here is as new
// as the place the engine has read the journal to. What is filled from below is
// taken only while it can be shown to be that new: each stripe of keys
// remembers its last event, and a row counts only if the tier it came from had
// read at least so far.
type Memory struct {
	cache *otter.Cache[memoryKey, *memoryRow]
	seed  maphash.Seed
	last  [][]atomic.Uint64 // by partition and stripe: revision of the last event that passed
	start []atomic.Uint64   // by partition: where the tail began, plus one; 0 = it has not
	tail  Positions
}

// Positions is how far something has read each partition.
type Positions interface{ At(partition int) uint64 }

type memoryKey struct{ agent, key string }

// memoryRow is an entry, or that there is none: it was deleted at its revision
// or, with revision 0, never written.
type memoryRow struct {
	entry   readmodel.Entry
	deleted bool
}

const stripes = 1 << 14

// neverTTL is how long it is believed at most that an entry was never written:
// nobody needs it for long, and a mistake in it would hide a whole entry.
const neverTTL = 30 * time.Second

// clockStep is how far the TTL's clock may be behind, of minutes that matter: to
// ask the real one would take longer than the rest of a read.
const clockStep = 100 * time.Millisecond

// MemoryConfig bounds the tier.
type MemoryConfig struct {
	Bytes      uint64        // default 128 MiB
	TTL        time.Duration // since the last write; default 5 min, the seed's evictExpired
	Partitions int
	Tail       Positions   // how far the engine follows the journal
	Clock      otter.Clock // of the TTL; nil = the real one, a tenth of a second behind at most
}

// NewMemory makes an empty tier.
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
				return min(cfg.TTL, neverTTL)
			}
			return cfg.TTL
		}),
		Clock: cfg.Clock,
	})
	return m
}

// Get is the row of a key; deleted rows are known too.
func (m *Memory) get(agent, key string) (*memoryRow, bool) {
	return m.cache.GetIfPresent(memoryKey{agent, key})
}

// Start tells at which head the engine begins to follow a partition, and
// returns the head of the first call, which alone counts. Nothing is kept before
// that, and later nothing older: of events up to there none will pass and put a
// row right.
func (m *Memory) Start(partition int, head uint64) uint64 {
	m.start[partition].CompareAndSwap(0, head+1)
	return m.start[partition].Load() - 1
}

// follows tells whether every event after asOf passes.
func (m *Memory) follows(partition int, asOf uint64) bool {
	start := m.start[partition].Load()
	return start > 0 && asOf >= start-1
}

// Pass takes what an event made of an entry. Events of one key may come twice
// and out of order; the newest stays.
func (m *Memory) Pass(partition int, e readmodel.Entry, deleted bool) {
	raise(&m.last[partition][m.stripe(e.Agent, e.Key)], e.Revision)
	if m.follows(partition, e.Revision) {
		// What the tail has passed already may have been overtaken by an event
		// whose row was evicted since.
		m.set(&memoryRow{entry: e, deleted: deleted}, func(found bool) bool { return found || e.Revision > m.tail.At(partition) })
	}
}

// fill takes a row that a lower tier, which had read the partition up to asOf,
// answered with.
func (m *Memory) fill(partition int, e readmodel.Entry, asOf uint64) {
	m.take(partition, &memoryRow{entry: e}, asOf)
}

// fillMissing takes that there was no entry when the partition had been read up
// to asOf: it was deleted at revision, or never written where that is 0. Any
// event that comes later takes the row's place.
func (m *Memory) fillMissing(partition int, agent, key string, revision, asOf uint64) {
	// The names are parts of a question, which would stay with them.
	e := readmodel.Entry{Agent: strings.Clone(agent), Key: strings.Clone(key), Revision: revision}
	m.take(partition, &memoryRow{entry: e, deleted: true}, asOf)
}

func (m *Memory) take(partition int, row *memoryRow, asOf uint64) {
	if m.follows(partition, asOf) {
		last := &m.last[partition][m.stripe(row.entry.Agent, row.entry.Key)]
		// An event that passes raises last before it sets its row: it is seen
		// here, even if its row was evicted since, or its row comes after this one.
		m.set(row, func(bool) bool { return asOf >= last.Load() })
	}
}

// Lose forgets a row because of an event that nothing could be made of: what
// was there before is not the entry any more.
func (m *Memory) Lose(partition int, agent, key string, revision uint64) {
	raise(&m.last[partition][m.stripe(agent, key)], revision)
	m.Drop(agent, key)
}

// Drop forgets a row; the next read fills it anew.
func (m *Memory) Drop(agent, key string) { m.cache.Invalidate(memoryKey{agent, key}) }

// DropAgent forgets all rows of an agent. It looks through the whole tier: for
// agents of very many keys only.
func (m *Memory) DropAgent(agent string) {
	for k := range m.cache.Keys() {
		if k.agent == agent {
			m.cache.Invalidate(k)
		}
	}
}

// set keeps the newer of two rows, if may agrees, which is asked while nobody
// else can set the key.
func (m *Memory) set(row *memoryRow, may func(found bool) bool) {
	m.cache.Compute(memoryKey{row.entry.Agent, row.entry.Key},
		func(old *memoryRow, found bool) (*memoryRow, otter.ComputeOp) {
			if found && old.entry.Revision >= row.entry.Revision || !may(found) {
				return old, otter.CancelOp
			}
			row.entry.Value = bytes.Clone(row.entry.Value) // it is a part of an event or a message, which would stay with it
			return row, otter.WriteOp
		})
}

func (m *Memory) stripe(agent, key string) uint64 {
	return (maphash.String(m.seed, agent)*31 ^ maphash.String(m.seed, key)) % stripes
}

func raise(a *atomic.Uint64, to uint64) {
	for {
		old := a.Load()
		if old >= to || a.CompareAndSwap(old, to) {
			return
		}
	}
}

// Len is the number of rows, roughly.
func (m *Memory) Len() int { return m.cache.EstimatedSize() }
