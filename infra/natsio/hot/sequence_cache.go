package hot

import (
	"hash/maphash"
	"sync"
)

// written is what is known of a key from writing it: the bucket's sequence and
// the journal's revision.
type position struct{ seq, revision uint64 }

// remembered is what is known of the keys written last, at about 50 bytes each.
// It keeps no names, only 128 bits of their hashes, under seeds of its own:
// that two keys share them is out of the question.
type sequenceCache struct {
	seeds [2]maphash.Seed
	half  int // how many keys a generation takes; there are two

	mu         sync.Mutex
	young, old map[[2]uint64]position
}

// newRemembered holds between most/2 and most keys once so many were written.
func newSequenceCache(most int) *sequenceCache {
	r := &sequenceCache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, half: max(1, most/2)}
	r.forgetAll()
	return r
}

func (r *sequenceCache) place(key string) [2]uint64 {
	return [2]uint64{maphash.String(r.seeds[0], key), maphash.String(r.seeds[1], key)}
}

func (r *sequenceCache) get(key string) (w position, ok bool) {
	at := r.place(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok = r.young[at]; !ok {
		w, ok = r.old[at]
	}
	return w, ok
}

// set takes what was written. When a generation is full the one before it is
// forgotten.
func (r *sequenceCache) set(key string, w position) {
	at := r.place(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= r.half {
		r.young, r.old = map[[2]uint64]position{}, r.young
	}
	r.young[at] = w
}

func (r *sequenceCache) forget(key string) {
	at := r.place(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, at)
	delete(r.old, at)
}

func (r *sequenceCache) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old = map[[2]uint64]position{}, nil
}
