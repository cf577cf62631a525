package keys

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lease is how long a key is used without a look at the store. It is well below
// Settle: when an erasure destroys a retired key, no process uses it any more, also
// one that the store cannot reach, or that hears of changes late.
const lease = settle / 2

// freshness says whether the cache may be used: whether it has all changes that the
// store had a lease ago.
type freshness struct {
	store    Store
	followed atomic.Bool
	seen     atomic.Uint64 // revision up to which the cache knows the changes
	began    time.Time     // the zero of the times below

	checking  sync.Mutex
	confirmed atomic.Int64 // when the cache was last known to have all changes, as of the begin of the check
	refuted   atomic.Int64 // when the last check began that found changes missing
	lost      atomic.Bool  // the last check found a store without its keys
}

func (f *freshness) now() time.Duration { return time.Since(f.began) }

func (f *freshness) ok() bool {
	at := time.Duration(f.confirmed.Load())
	return at > 0 && f.now()-at < lease
}

// check reports whether the cache may be used now. It asks the store at most once in a
// lease, for all agents.
func (f *freshness) check(ctx context.Context) bool {
	if !f.followed.Load() {
		return false
	}
	if f.ok() {
		return true
	}
	arrived := f.now()
	f.checking.Lock()
	defer f.checking.Unlock()
	if f.ok() {
		return true
	}
	if time.Duration(f.refuted.Load()) > arrived {
		return false
	}
	at := f.now()
	last, err := f.store.Last(ctx)
	master := uint64(0) // every store has a master record: one that was purged or made again has none
	if err == nil {
		_, master, err = f.store.Get(ctx, masterName)
	}
	if err == nil {
		f.lost.Store(master == 0)
	}
	if err != nil || master == 0 || f.seen.Load() < last {
		f.refuted.Store(int64(at))
		return false
	}
	f.confirmed.Store(int64(at))
	return true
}
