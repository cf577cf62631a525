package hot

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// Journal is what the hot view asks the journal.
type Journal interface {
	history.JournalStore
	// FirstSince is the revision before the first entry that was stored at or
	// after from.
	FirstSince(ctx context.Context, partition int, from time.Time) (uint64, error)
}

// Hot is the target of the hot view: state entries in one bucket, and each kind
// of document in its own. A bucket's unsynced tail may be lost in a power cut,
// so its position is not kept beside it but in it: every put carries the
// positions from which a restart is safe, and the bucket's own last message
// says where to go on. The view is where its furthest-back bucket is.
type Hot struct {
	entries  *Bucket
	docs     map[string]*Bucket // by kind
	journal  Journal
	progress *projections.Progress
	// Leaves tells of aggregates that the view leaves out; nil = of none. No
	// fill may put what the view would not keep level. Set it before the first
	// Load.
	Leaves func(partition int, s events.Stream) bool

	version atomic.Pointer[int] // of the fold that made the rows; nil = as this build's
	foreign atomic.Bool         // the last Load found another journal's rows
	loaded  atomic.Bool         // one has been good

	mu     sync.Mutex
	marked map[string]uint64 // by bucket and partition: the position its last message carries
}

var (
	_ projections.Target = (*Hot)(nil)
	_ tiers.HotTier      = (*Hot)(nil)
)

// NewHot is the hot view's target on the bucket of state entries; progress is
// where its runners note their positions.
func NewHot(entries *Bucket, j Journal, progress *projections.Progress) *Hot {
	return &Hot{entries: entries, docs: map[string]*Bucket{}, journal: j, progress: progress, marked: map[string]uint64{}}
}

// Keep adds the bucket of a kind of documents, before the first Load.
func (t *Hot) Keep(kind string, b *Bucket) { t.docs[kind] = b }

// buckets are all of the view's.
func (t *Hot) buckets() []*Bucket {
	all := []*Bucket{t.entries}
	for _, b := range t.docs {
		all = append(all, b)
	}
	return all
}

// Load implements projections.Target.
func (t *Hot) Load(ctx context.Context, partition int, id string) (uint64, error) {
	var least uint64
	for i, b := range t.buckets() {
		b.seqs.forgetAll() // what was written may have been lost

		at, err := t.position(ctx, b, partition, id)
		t.foreign.Store(errors.Is(err, history.ErrForeignJournal))
		if err != nil {
			return 0, err
		}
		if i == 0 || at < least {
			least = at
		}
	}
	t.loaded.Store(true)
	return least, nil
}

// Get is the entry under a key, for the tiered read.
func (t *Hot) Get(ctx context.Context, agent, key string) (readmodel.Entry, bool, error) {
	return t.entries.Get(ctx, agent, key)
}

// Fill puts an entry that a lower tier answered with, where there is nothing.
func (t *Hot) Fill(ctx context.Context, e *readmodel.Entry) error {
	if t.foreign.Load() {
		return nil // the bucket would be taken for this journal's
	}
	if t.Leaves != nil && t.Leaves(t.journal.Partition(e.Agent), events.StateEntry(e.Agent, e.Key)) {
		return nil
	}
	_, err := t.entries.Fill(ctx, e, t.Header())
	return err
}

// Apply implements projections.Target: guarded puts, all in flight at once.
// A deletion leaves its marker even where there was nothing, for a fill may be
// under way that must not bring back what is gone.
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
			continue // this kind has no bucket
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
		if b, key := t.place(r.Stream); b != nil {
			b.seqs.forget(key) // the marker of what was held is in the way
		}
	}
	header, head := t.Header(), uint64(0)
	known := func(revision uint64) (bool, error) {
		if revision <= head {
			return true, nil
		}
		var err error
		head, err = t.journal.Head(ctx, partition)
		return err == nil && revision <= head, err
	}
	for b, puts := range byBucket {
		if err := b.putAll(ctx, puts, header, known); err != nil {
			return err
		}
	}
	if err := t.hide(ctx, c.Held, header); err != nil { // after what came before it
		return err
	}
	return t.mark(ctx, partition, from, byBucket, header)
}
