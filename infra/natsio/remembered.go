package natsio

import (
	"hash/maphash"
	"sync"
)

// written is what is known of a key from writing it: the bucket's sequence and
// the journal's revision.
type written struct{ seq, revision uint64 }

// remembered is what is known of the keys written last, at about 50 bytes each.
// It keeps no names, only 128 bits of their hashes, under seeds of its own:
// that two keys share them is out of the question.
type remembered struct {
	seeds [2]maphash.Seed
	half  int // how many keys a generation takes; there are two

	mu         sync.Mutex
	young, old map[[2]uint64]written
}

// newRemembered holds between most/2 and most keys once so many were written.
func newRemembered(most int) *remembered {
	r := &remembered{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, half: max(1, most/2)}
	r.forgetAll()
	return r
}

func (r *remembered) place(key string) [2]uint64 {
	return [2]uint64{maphash.String(r.seeds[0], key), maphash.String(r.seeds[1], key)}
}

func (r *remembered) get(key string) (w written, ok bool) {
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
func (r *remembered) set(key string, w written) {
	at := r.place(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= r.half {
		r.young, r.old = map[[2]uint64]written{}, r.young
	}
	r.young[at] = w
}

func (r *remembered) forget(key string) {
	at := r.place(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, at)
	delete(r.old, at)
}

func (r *remembered) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old = map[[2]uint64]written{}, nil
}
