// Package keys encrypts the content of events with a key of its agent and decrypts
// it: Ring.Seal and Ring.Open are the only places that do. A key is wrapped by the
// master key and stored through the port Store. Destroying the key of an agent
// erases what it has encrypted.
package keys

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/maypok86/otter/v2"

	"github.com/tidemark-engine/tidemark/domain"
)

// Ring holds the keys that this process uses.
type Ring struct {
	store   Store
	source  func(context.Context) (Masters, error)
	log     *slog.Logger
	masters atomic.Pointer[Masters]
	mu      sync.Mutex // of changes of the cache
	cache   *otter.Cache[string, *entry]
	fresh   freshness
}

// entry is a cached record of an agent, never changed once it is in the cache.
type entry struct {
	revision uint64
	read     time.Duration // when the store was asked for it
	record   Record
	keys     map[string]cipher.AEAD
	gone     map[string]bool // ids that are not among the keys: they were destroyed
}

const (
	// cachedAgents bounds the agents whose keys are in memory.
	cachedAgents = 200_000
	// settle is how long an erasure waits between the retirement of a key and the
	// search for what it has encrypted: every engine knows of the retirement by then,
	// and asks the store before each use of the retired key.
	settle = time.Second
)

// New returns a ring over a store. source loads the master keys; it is called again
// when the data set has another master key.
func New(store Store, source func(context.Context) (Masters, error), log *slog.Logger) *Ring {
	return &Ring{
		store: store, source: source, log: log, fresh: freshness{store: store, began: time.Now()},
		cache: otter.Must(&otter.Options[string, *entry]{MaximumSize: cachedAgents}),
	}
}

// Follow drops what other processes change from the cache, until ctx ends. Without it
// the store is asked for each agent again after half a second.
func (r *Ring) Follow(ctx context.Context) error {
	last, err := r.store.Last(ctx)
	if err != nil {
		return err
	}
	r.cache.InvalidateAll()
	r.fresh.seen.Store(last)
	err = r.store.Follow(ctx, last, func(name string, revision uint64) {
		if name == masterName {
			go r.reload(ctx)
		} else if agent, ok := strings.CutPrefix(name, agentPrefix); ok {
			// The marker keeps an older answer that is on its way out of the cache.
			r.keep(agent, &entry{revision: revision})
		}
		r.fresh.seen.Store(revision)
	})
	if err == nil {
		r.fresh.followed.Store(true)
	}
	return err
}

func unavailable(err error) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return err
	}
	return fmt.Errorf("%w: %w", domain.Errorf(domain.Unavailable, "keys.unavailable",
		"the key of the agent cannot be read now; send the same command id again"), err)
}

// errLost means that the store has lost the keys. Without this error, values would look
// erased.
var errLost = domain.Errorf(domain.Unavailable, "keys.unavailable",
	"the key store has lost its keys: restore its stream TIDEMARK_KEYS from a backup, and send the same command id again")

// Check fails when the store does not answer, or has lost its keys: then commands fail.
func (r *Ring) Check(ctx context.Context) error {
	_, revision, err := r.master(ctx)
	if err != nil {
		return unavailable(err)
	}
	if revision == 0 {
		return errLost
	}
	return nil
}

// lookup returns the keys of an agent, cached or from the store.
func (r *Ring) lookup(ctx context.Context, agent string, ask bool) (*entry, error) {
	fresh := r.fresh.check(ctx) // before the cache is read
	if r.fresh.lost.Load() {
		return nil, errLost // a key that is cached is stored nowhere: what it encrypts would be lost
	}
	if !ask {
		known, cached := r.cache.GetIfPresent(agent)
		if cached && known.keys != nil && (fresh || r.fresh.now()-known.read < lease) {
			return known, nil
		}
	}
	for {
		at := r.fresh.now()
		body, revision, err := r.store.Get(ctx, agentPrefix+agent)
		if err != nil {
			return nil, unavailable(err)
		}
		var e *entry
		if known, cached := r.cache.GetIfPresent(agent); cached && known.keys != nil && known.revision == revision {
			again := *known
			e = &again
		} else if e, err = r.open(ctx, agent, body, revision); err != nil {
			return nil, unavailable(err)
		}
		e.read = at
		if e = r.keep(agent, e); e.keys != nil {
			return e, nil
		} // changed while it was read
	}
}

// keep caches e unless the cache has a later entry, and returns what the cache has. An
// entry without keys is a marker, which replaces earlier ones alone.
func (r *Ring) keep(agent string, e *entry) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, ok := r.cache.GetIfPresent(agent); ok && (now.revision > e.revision || now.revision == e.revision && e.keys == nil) {
		return now
	}
	r.cache.Set(agent, e)
	return e
}

func (r *Ring) open(ctx context.Context, agent string, body []byte, revision uint64) (*entry, error) {
	e := &entry{revision: revision, keys: map[string]cipher.AEAD{}, gone: map[string]bool{}}
	if revision == 0 {
		return e, nil
	}
	if err := json.Unmarshal(body, &e.record); err != nil {
		return nil, fmt.Errorf("the keys of agent %s cannot be read: %w", agent, err)
	}
	for _, k := range e.record.all() {
		aead, err := k.open(agent, r.Masters())
		if errors.Is(err, errNoMaster) && r.reload(ctx) {
			aead, err = k.open(agent, r.Masters())
		}
		if err != nil {
			return nil, err
		}
		e.keys[k.ID] = aead
	}
	return e, nil
}

// put stores a record and returns it as cached.
func (r *Ring) put(ctx context.Context, agent string, rec Record, after uint64) (*entry, error) {
	body, err := json.Marshal(rec, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	at := r.fresh.now()
	revision, err := r.store.Put(ctx, agentPrefix+agent, body, after)
	if err != nil {
		return nil, err
	}
	e, err := r.open(ctx, agent, body, revision)
	if err == nil {
		e.read = at
		r.keep(agent, e)
	}
	return e, err
}

// update changes the record of an agent, again where another process was first.
// change returns false if nothing is to be changed.
func (r *Ring) update(ctx context.Context, agent string, change func(*Record) (bool, error)) (*entry, error) {
	for {
		e, err := r.lookup(ctx, agent, true)
		if err != nil {
			return nil, err
		}
		rec := e.record
		rec.Retired = slices.Clone(rec.Retired)
		if rec.Current != nil {
			current := *rec.Current
			rec.Current = &current
		}
		changed, err := change(&rec)
		if err != nil || !changed {
			return e, err
		}
		next, err := r.put(ctx, agent, rec, e.revision)
		if errors.Is(err, ErrChanged) {
			continue
		}
		if err != nil {
			return nil, unavailable(err)
		}
		return next, nil
	}
}
