package hot

import (
	"hash/maphash"
	"sync"
)

// cachedRow is the bucket sequence and the journal revision of a written row.
type cachedRow struct{ seq, revision uint64 }

// sequenceCache caches the sequences of recently written keys, at about 50 bytes
// a key. It stores 128-bit hashes with random seeds instead of keys; a collision
// is practically impossible.
type sequenceCache struct {
	seeds [2]maphash.Seed
	half  int // maximum number of keys of each of the two generations

	mu         sync.Mutex
	young, old map[[2]uint64]cachedRow
}

// newSequenceCache returns a cache of the last capacity/2 to capacity keys.
func newSequenceCache(capacity int) *sequenceCache {
	c := &sequenceCache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, half: max(1, capacity/2)}
	c.clear()
	return c
}

func (c *sequenceCache) hash(key string) [2]uint64 {
	return [2]uint64{maphash.String(c.seeds[0], key), maphash.String(c.seeds[1], key)}
}

func (c *sequenceCache) get(key string) (row cachedRow, ok bool) {
	h := c.hash(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if row, ok = c.young[h]; !ok {
		row, ok = c.old[h]
	}
	return row, ok
}

// set caches a written row. A full young generation replaces the old one.
func (c *sequenceCache) set(key string, row cachedRow) {
	h := c.hash(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.half {
		c.young, c.old = map[[2]uint64]cachedRow{}, c.young
	}
	c.young[h] = row
}

func (c *sequenceCache) remove(key string) {
	h := c.hash(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, h)
	delete(c.old, h)
}

func (c *sequenceCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old = map[[2]uint64]cachedRow{}, nil
}
