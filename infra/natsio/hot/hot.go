package hot

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// Hot is the target of the hot view: one bucket for state entries and one for
// each kind of document. A power cut may lose the unsynced end of a bucket.
// Therefore the bucket itself stores the position: every put carries the
// positions from which a restart is safe, and a restart reads them from the
// bucket's last message. The view's position is the lowest of its buckets'.
type Hot struct {
	entries  *Bucket
	docs     map[string]*Bucket // by kind
	journal  history.JournalStore
	progress *projections.Progress
	// Quarantined reports whether the view has quarantined an aggregate; nil
	// means none. Fill and Restore skip these aggregates, because the view would
	// not update their rows. Set it before the first Load.
	Quarantined func(partition int, s events.AggregateName) bool

	version atomic.Pointer[int] // of the fold that wrote the rows; nil = this build's
	foreign atomic.Bool         // the last Load found rows of another journal
	loaded  atomic.Bool         // a Load has succeeded

	// Loaded, if set, is called after each Load: rows may have been lost before it.
	Loaded func()

	mu       sync.Mutex
	seen     map[*Bucket]bucketState // at the last Load or Check
	losses   map[*Bucket]int         // how often a bucket has lost rows
	refolded map[loadKey]int         // losses that the last Load of a partition has taken into account
	savedAt  map[string]uint64       // by bucket and partition: the position that the last put carries
}

var (
	_ projections.Target  = (*Hot)(nil)
	_ projections.Checker = (*Hot)(nil)
	_ tiers.HotTier       = (*Hot)(nil)
)

// NewHot returns the hot view's target with the bucket of state entries;
// progress holds the positions of the view's runners.
func NewHot(entries *Bucket, j history.JournalStore, progress *projections.Progress) *Hot {
	return &Hot{entries: entries, docs: map[string]*Bucket{}, journal: j, progress: progress, savedAt: map[string]uint64{},
		seen: map[*Bucket]bucketState{}, losses: map[*Bucket]int{}, refolded: map[loadKey]int{}}
}

// AddBucket sets the bucket of a kind of document. Call it before the first
// Load.
func (t *Hot) AddBucket(kind string, b *Bucket) { t.docs[kind] = b }

func (t *Hot) buckets() []*Bucket {
	all := []*Bucket{t.entries}
	for _, b := range t.docs {
		all = append(all, b)
	}
	return all
}

// Load implements projections.Target.
func (t *Hot) Load(ctx context.Context, partition int, id string) (uint64, error) {
	// gofail: var hotLoad struct{}
	// return 0, context.DeadlineExceeded
	var lowest uint64
	for i, b := range t.buckets() {
		b.seqs.clear() // a crash may have lost the latest writes

		at, err := t.position(ctx, b, partition, id)
		t.foreign.Store(errors.Is(err, history.ErrForeignJournal))
		if err != nil {
			return 0, err
		}
		if i == 0 || at < lowest {
			lowest = at
		}
	}
	t.loaded.Store(true)
	if t.Loaded != nil {
		t.Loaded()
	}
	return lowest, nil
}

// Get implements tiers.HotTier.
func (t *Hot) Get(ctx context.Context, agent, key string) (readmodel.Entry, bool, error) {
	return t.entries.Get(ctx, agent, key)
}

// Fill implements tiers.HotTier.
func (t *Hot) Fill(ctx context.Context, e *readmodel.Entry) error {
	if t.foreign.Load() {
		return nil // the put's position would claim the bucket for this journal
	}
	if t.Quarantined != nil && t.Quarantined(t.journal.Partition(e.Agent), events.StateEntry(e.Agent, e.Key)) {
		return nil
	}
	_, err := t.entries.Fill(ctx, e, t.Header())
	return err
}

// Apply implements projections.Target with compare-and-set puts, all in flight
// at once. A deletion writes a marker even for a missing key, so that a
// concurrent fill cannot restore the deleted value.
func (t *Hot) Apply(ctx context.Context, partition int, from, _ uint64, c projections.Changes) error {
	entries := make([]put, 0, len(c.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		p := put{key: e.Agent + "." + e.Key, revision: e.Revision, first: e.Version == 1}
		if !e.Deleted {
			p.value = e.EncodeKV()
		}
		entries = append(entries, p)
	}
	byBucket := map[*Bucket][]put{}
	if len(entries) > 0 {
		byBucket[t.entries] = entries
	}
	for i := range c.Docs {
		d := &c.Docs[i]
		b := t.docs[d.Kind]
		if b == nil {
			continue
		}
		p := put{key: d.ID, revision: d.Revision, first: d.Version == 1}
		if d.Key != "" {
			p.key += "." + d.Key
		}
		if !d.Deleted {
			p.value = d.EncodeKV()
		}
		byBucket[b] = append(byBucket[b], p)
	}
	for _, r := range c.Released {
		if b, key := t.locate(r.Stream); b != nil {
			b.seqs.remove(key) // a quarantine marker has replaced the cached sequence
		}
	}
	header, head := t.Header(), uint64(0)
	inJournal := func(revision uint64) (bool, error) {
		if revision <= head {
			return true, nil
		}
		var err error
		head, err = t.journal.Head(ctx, partition)
		return err == nil && revision <= head, err
	}
	// gofail: var hotPut struct{}
	// return context.DeadlineExceeded
	for b, puts := range byBucket {
		if err := b.putAll(ctx, puts, header, inJournal); err != nil {
			return err
		}
	}
	if err := t.putTombstones(ctx, c.Quarantined, header); err != nil { // after the events before the quarantine
		return err
	}
	// gofail: var hotPosition struct{}
	// return context.DeadlineExceeded
	return t.savePositions(ctx, partition, from, byBucket, header)
}
