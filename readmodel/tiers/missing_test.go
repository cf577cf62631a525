package tiers

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// newTiers returns tiers whose memory follows a journal from its end, over a KV that has caught up
// with it.
func newTiers(j *fakeJournal) (*Tiers, *fakeProgress) {
	tail := &fakeProgress{}
	m := NewMemory(MemoryConfig{Partitions: 1, Tail: tail})
	tail.at.Store(m.Start(0, j.head()))
	j.hot.at.Store(j.head())
	return &Tiers{Memory: m, Hot: j, HotProgress: &j.hot, Journal: j, Durable: rows{j: j}, DurableProgress: &j.hot}, tail
}

// rows is SQL with the rows of the journal.
type rows struct {
	DurableTier
	j *fakeJournal
}

func (r rows) Entry(ctx context.Context, _ int, agent, key string) (readmodel.Entry, bool, uint64, error) {
	position := r.j.hot.At(0)
	e, found, err := r.j.Get(ctx, agent, key)
	return e, found, position, err
}

// wantAnswer reads an entry and returns the number of reads below memory; revision 0 expects no
// entry.
func wantAnswer(t *testing.T, tiers *Tiers, key string, c Consistency, after, revision uint64) (asked int64) {
	t.Helper()
	j := tiers.Durable.(rows).j
	before := j.asked.Load()
	a, err := tiers.Get(t.Context(), "a", key, c, after)
	var known *domain.Error
	missing := errors.As(err, &known) && known.Code == "state.not_found" && known.Kind == domain.NotFound
	if missing != (revision == 0) || !missing && (err != nil || a.Revision != revision) {
		t.Errorf("%s, %s after %d: %+v, %v; want revision %d", key, c, after, a, err, revision)
	}
	return j.asked.Load() - before
}

func TestAMissingEntryIsCached(t *testing.T) {
	for name, was := range map[string][]bool{"never written": {}, "deleted": {false, true}} {
		j := &fakeJournal{}
		for _, deleted := range was {
			j.append("k", deleted)
		}
		tiers, tail := newTiers(j)
		if n := wantAnswer(t, tiers, "k", Cached, 0, 0); n != 3 {
			t.Errorf("%s: the first read asked %d times, want KV, SQL and the journal", name, n)
		}
		for range 3 {
			if n := wantAnswer(t, tiers, "k", Cached, tail.At(0), 0); n != 0 {
				t.Errorf("%s: a later read asked %d times", name, n)
			}
		}
		for c, want := range map[Consistency]int64{Hot: 3, Durable: 1, Strong: 1} {
			if n := wantAnswer(t, tiers, "k", c, 0, 0); n != want {
				t.Errorf("%s: %s asked %d times, want %d", name, c, n, want)
			}
		}
		e := j.append("k", false) // by another engine
		tiers.Memory.Apply(0, e.Entry, false)
		tail.at.Store(e.Revision)
		if n := wantAnswer(t, tiers, "k", Cached, e.Revision, e.Revision); n != 0 {
			t.Errorf("%s: after its event a read asked %d times", name, n)
		}
	}
}

// A read that skips memory, or asks for a newer position than memory has, is not answered with a
// cached missing entry.
func TestAMissingEntryIsCachedForCachedReadsOnly(t *testing.T) {
	j := &fakeJournal{}
	tiers, _ := newTiers(j)
	wantAnswer(t, tiers, "k", Cached, 0, 0)
	at := j.append("k", false).Revision
	wantAnswer(t, tiers, "k", Cached, 0, 0) // as of its position
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var known *domain.Error
	if a, err := tiers.Get(short, "a", "k", Cached, at); !errors.As(err, &known) || known.Code != "read.behind" {
		t.Errorf("a token ahead of KV: %+v, %v", a, err)
	}
	got := make(chan error, 1)
	go func() {
		a, err := tiers.Get(t.Context(), "a", "k", Cached, at)
		if err == nil && a.Revision != at {
			err = fmt.Errorf("%+v", a)
		}
		got <- err
	}()
	j.hot.at.Store(at)
	if err := harness.Receive(t, "an answer", got); err != nil {
		t.Error(err)
	}
	for _, c := range []Consistency{Hot, Durable, Strong} {
		tiers.Memory.Drop("a", "k")
		tiers.Memory.fillMissing(0, "a", "k", 0, 0)
		wantAnswer(t, tiers, "k", c, 0, at)
	}
}

// An entry is created after a reader has found nothing and before it caches that; its row may be
// in memory or already evicted.
func TestAMissingEntryThatIsCreated(t *testing.T) {
	for _, evicted := range []bool{false, true} {
		j := &slowJournal{fakeJournal: &fakeJournal{}, read: make(chan struct{}, 9), open: make(chan struct{})}
		tiers, tail := newTiers(j.fakeJournal)
		tiers.Journal = j
		first := make(chan error, 1)
		go func() {
			_, err := tiers.Get(t.Context(), "a", "k", Cached, 0)
			first <- err
		}()
		harness.Receive(t, "the reader", j.read)
		e := j.append("k", false)
		tiers.Memory.Apply(0, e.Entry, false)
		tail.at.Store(e.Revision)
		if evicted {
			tiers.Memory.Drop("a", "k")
		}
		close(j.open)
		if err := harness.Receive(t, "an answer", first); err == nil {
			t.Error("the reader found an entry that was created later")
		}
		wantAnswer(t, tiers, "k", Cached, 0, e.Revision)
	}
}

// A late or unreadable event leaves no wrong row.
func TestALateEventLeavesNoWrongRow(t *testing.T) {
	j := &fakeJournal{}
	set, deleted := j.append("k", false), j.append("k", true)
	m, tail := following(1)
	tiers := &Tiers{Memory: m, Hot: j, HotProgress: &j.hot, Journal: j, Durable: rows{j: j}}
	m.Apply(0, set.Entry, false)
	m.Apply(0, deleted.Entry, true)
	j.hot.at.Store(2)
	tail.at.Store(2)
	m.Drop("a", "k")
	wantAnswer(t, tiers, "k", Cached, 0, 0)
	m.Apply(0, set.Entry, false) // the event is repeated
	if n := wantAnswer(t, tiers, "k", Cached, 0, 0); n != 0 {
		t.Errorf("memory has lost the deletion: asked %d times", n)
	}
	for name, lose := range map[string]func(){
		"an event that cannot be read": func() { m.Invalidate(0, "a", "k", 3) },
		"a drop":                       func() { m.Drop("a", "k") },
		"a drop of the agent":          func() { m.DropAgent("a") },
	} {
		m.fillMissing(0, "a", "k", 0, 9)
		if lose(); wantAnswer(t, tiers, "k", Cached, 0, 0) == 0 {
			t.Errorf("%s: memory still answers", name)
		}
	}
	m.Invalidate(0, "a", "l", 4)
	m.fillMissing(0, "a", "l", 0, 3) // read before the event
	wantRow(t, m, "l", 0, false)
	m.fill(0, entry("there", 5), 9)
	m.fillMissing(0, "a", "there", 0, 9)
	wantRow(t, m, "there", 5, false)
	early := NewMemory(MemoryConfig{Partitions: 1, Tail: tail})
	early.fillMissing(0, "a", "k", 0, 100)
	wantRow(t, early, "k", 0, false)
	early.Start(0, 10)
	early.fillMissing(0, "a", "k", 0, 9)
	wantRow(t, early, "k", 0, false)
}

// manualClock is a clock that a test advances. The cache reads it when it is about to set a row.
type manualClock struct {
	nanos atomic.Int64
	asked func()
}

func (c *manualClock) Tick(time.Duration) <-chan time.Time { return nil }

func (c *manualClock) NowNano() int64 {
	if c.asked != nil {
		c.asked()
	}
	return c.nanos.Load()
}

// An event is applied, and its row evicted, immediately before a stale row is set.
func TestARowIsNotSetBesideAnEvent(t *testing.T) {
	now := &manualClock{}
	m := NewMemory(MemoryConfig{Partitions: 1, Tail: &fakeProgress{}, Clock: now})
	m.Start(0, 0)
	now.asked = func() { raise(&m.last[0][m.stripe("a", "k")], 6) }
	m.fillMissing(0, "a", "k", 0, 5)
	wantRow(t, m, "k", 0, false)
	m.fill(0, entry("k", 5), 5)
	wantRow(t, m, "k", 0, false)
}

func TestMissingEntriesAreBounded(t *testing.T) {
	const budget = 64 << 10
	now := &manualClock{}
	now.nanos.Store(time.Now().UnixNano())
	j := &fakeJournal{}
	j.append("gone", true)
	tiers, tail := newTiers(j)
	tiers.Memory = NewMemory(MemoryConfig{Bytes: budget, Partitions: 1, Tail: tail, Clock: now})
	tiers.Memory.Start(0, 1)
	for i := range 20_000 {
		wantAnswer(t, tiers, fmt.Sprint("none", i), Cached, 0, 0)
	}
	cache := tiers.Memory.cache
	cache.CleanUp()
	if n, weight := cache.EstimatedSize(), cache.WeightedSize(); n == 0 || n > budget/360 || weight > budget {
		t.Errorf("%d rows of %d bytes", n, weight)
	}
	cache.InvalidateAll()
	wantAnswer(t, tiers, "none", Cached, 0, 0)
	wantAnswer(t, tiers, "gone", Cached, 0, 0)
	now.nanos.Add(int64(missingTTL - time.Second))
	if n := wantAnswer(t, tiers, "none", Cached, 0, 0) + wantAnswer(t, tiers, "gone", Cached, 0, 0); n != 0 {
		t.Errorf("asked %d times before the time", n)
	}
	now.nanos.Add(int64(2 * time.Second)) // reads do not extend the TTL
	if wantAnswer(t, tiers, "none", Cached, 0, 0) == 0 {
		t.Error("an entry that was never written is still cached")
	}
	if n := wantAnswer(t, tiers, "gone", Cached, 0, 0); n != 0 {
		t.Errorf("a deleted entry is not cached: asked %d times", n)
	}
}
