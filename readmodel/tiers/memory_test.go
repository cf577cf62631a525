package tiers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// following returns a memory that follows an empty journal from its start, and the tail's
// position.
func following(partitions int) (*Memory, *fakeProgress) {
	tail := &fakeProgress{}
	m := NewMemory(MemoryConfig{Partitions: partitions, Tail: tail})
	for p := range partitions {
		m.Start(p, 0)
	}
	return m, tail
}

func entry(key string, revision uint64) readmodel.Entry {
	return readmodel.Entry{Agent: "a", Key: key, Revision: revision, Version: revision, Value: fmt.Append(nil, revision)}
}

func wantRow(t rapid.TB, m *Memory, key string, revision uint64, deleted bool) {
	t.Helper()
	row, ok := m.get("a", key)
	switch {
	case revision == 0 && ok:
		t.Fatalf("%s is kept: %+v", key, row)
	case revision > 0 && (!ok || row.entry.Revision != revision || row.deleted != deleted):
		t.Fatalf("%s is %+v, %t; want revision %d", key, row, ok, revision)
	}
}

func TestTheNewestEventStaysInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, _ := following(1)
		revisions := rapid.SliceOfN(rapid.Uint64Range(1, 9), 1, 12).Draw(t, "revisions")
		newest := uint64(0)
		for _, r := range revisions {
			newest = max(newest, r)
			m.Apply(0, entry("k", r), r%3 == 0)
			wantRow(t, m, "k", newest, newest%3 == 0)
		}
	})
}

func TestAFillCountsOnlyWhenItIsNewEnough(t *testing.T) {
	for _, c := range []struct {
		name              string
		passed, row, asOf uint64
		deleted           bool
		want              uint64
		wantDeleted       bool
	}{
		{"nothing passed", 0, 3, 5, false, 3, false},
		{"as of the event that passed", 7, 7, 7, false, 7, false},
		{"from a tier that had read further", 7, 7, 9, false, 7, false},
		{"from a tier that had not read so far", 7, 6, 6, false, 7, false},
		{"from a tier that knows a newer event", 7, 9, 9, false, 9, false},
		{"of what is deleted", 7, 6, 6, true, 7, true},
	} {
		m, _ := following(1)
		if c.passed > 0 {
			m.Apply(0, entry("k", c.passed), c.deleted)
		}
		m.fill(0, entry("k", c.row), c.asOf)
		t.Run(c.name, func(t *testing.T) { wantRow(t, m, "k", c.want, c.wantDeleted) })
	}
	m, _ := following(1)
	m.Apply(0, entry("k", 7), false)
	m.cache.Invalidate(memoryKey{"a", "k"})
	m.fill(0, entry("k", 5), 6)
	wantRow(t, m, "k", 0, false) // the row is evicted, the stripe remembers the event
}

func TestRowsBeforeTheStartAreNotCached(t *testing.T) {
	m := NewMemory(MemoryConfig{Partitions: 2, Tail: &fakeProgress{}})
	m.Apply(0, entry("early", 5), false)
	m.fill(0, entry("early", 5), 100)
	wantRow(t, m, "early", 0, false)
	if at := m.Start(0, 10); at != 10 {
		t.Errorf("started at %d", at)
	}
	if at := m.Start(0, 20); at != 10 {
		t.Errorf("started again at %d", at)
	}
	m.fill(0, entry("k", 3), 9) // there may be a newer row at 10, whose event is not read
	wantRow(t, m, "k", 0, false)
	m.Apply(0, entry("k", 9), false)
	wantRow(t, m, "k", 0, false)
	m.fill(0, entry("k", 3), 10)
	wantRow(t, m, "k", 3, false)
	m.Apply(0, entry("k", 11), false)
	wantRow(t, m, "k", 11, false)
	m.fill(1, entry("other", 3), 50)
	wantRow(t, m, "other", 0, false)
}

// An engine applies its own event twice: from its command handler and from the journal. The first
// may be so late that newer events were applied and their row was evicted.
func TestALateEventDoesNotComeBackAfterAnEviction(t *testing.T) {
	m, tail := following(1)
	m.Apply(0, entry("k", 10), false)
	m.Apply(0, entry("k", 11), true)
	tail.at.Store(11)
	m.Drop("a", "k")
	m.Apply(0, entry("k", 10), false)
	wantRow(t, m, "k", 0, false)
	m.Apply(0, entry("k", 12), false)
	wantRow(t, m, "k", 12, false)
}

// racingTail applies an event at the moment its position is read.
type racingTail struct {
	fakeProgress
	pass func()
}

func (p *racingTail) At(partition int) uint64 {
	if p.pass != nil {
		p.pass()
	}
	return p.fakeProgress.At(partition)
}

func TestARowIsNotOlderThanItsPosition(t *testing.T) {
	tail := &racingTail{}
	m := NewMemory(MemoryConfig{Partitions: 1, Tail: tail})
	m.Start(0, 0)
	m.Apply(0, entry("k", 1), false)
	tail.at.Store(1)
	j := &fakeJournal{}
	j.hot.at.Store(2)
	tiers := &Tiers{Memory: m, Hot: j, HotProgress: &j.hot, Journal: j}
	for range 2 {
		j.append("k", false)
	}
	tail.pass = func() {
		tail.pass = nil
		m.Apply(0, entry("k", 2), false)
		tail.at.Store(2)
	}
	if a, err := tiers.Get(t.Context(), "a", "k", Cached, 2); err != nil || a.Revision != 2 {
		t.Errorf("with a token at 2: %+v, %v", a, err)
	}
}

// With concurrent events, late repetitions, evictions and fills, a read with a token never returns
// an older row than the token's. Keys are created continuously that were read before.
func TestMemoryUnderFire(t *testing.T) {
	const keys, length, generation = 5, 4000, 100
	j := &fakeJournal{}
	for i := range 20 {
		j.append(fmt.Sprint("k", i%keys), i%7 == 0)
	}
	key := func(at uint64) string { return fmt.Sprint("k", at/generation*keys+rand.Uint64N(keys)) }
	tail := &fakeProgress{}
	m := NewMemory(MemoryConfig{Partitions: 1, Tail: tail})
	tiers := &Tiers{Memory: m, Hot: j, HotProgress: &j.hot, Journal: j}
	tail.at.Store(m.Start(0, j.head()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	background := func(step func()) {
		wg.Go(func() {
			for ctx.Err() == nil {
				step()
			}
		})
	}
	random := func() uint64 { return 1 + rand.Uint64N(j.head()) }
	background(func() { // the tail
		if next := tail.At(0) + 1; next <= j.head() {
			c := j.at(next)
			m.Apply(0, c.Entry, c.deleted)
			tail.at.Store(next)
		}
	})
	background(func() { // KV
		if next := j.hot.At(0) + 1; next <= j.head() {
			j.hot.at.Store(next)
		}
	})
	background(func() { c := j.at(random()); m.Apply(0, c.Entry, c.deleted) }) // late or repeated
	background(func() { m.Drop("a", key(random()+generation)) })               // evicted
	for range 3 {
		background(func() {
			after := random()
			key := key(after + rand.Uint64N(2*generation))
			a, err := tiers.Get(ctx, "a", key, Cached, after)
			least := j.asOf(key, after)
			var known *domain.Error
			switch {
			case ctx.Err() != nil:
			case err == nil && a.Revision < least.Revision:
				t.Errorf("%s after %d is %d from %s, it was %d then", key, after, a.Revision, a.Source, least.Revision)
			case err == nil && (j.at(a.Revision).Key != key || j.at(a.Revision).deleted):
				t.Errorf("%s never was %d", key, a.Revision)
			case err != nil && (!errors.As(err, &known) || known.Kind != domain.NotFound):
				t.Error(err)
			case err != nil && !least.deleted && !j.deletedSince(key, least.Revision):
				t.Errorf("%s after %d is not found, it was %d and not deleted since", key, after, least.Revision)
			}
		})
	}
	for i := range length {
		j.append(key(j.head()), i%5 == 0)
	}
	(&j.hot).Wait(ctx, 0, j.head())
	tail.Wait(ctx, 0, j.head())
	cancel()
	wg.Wait()
}

func (j *fakeJournal) deletedSince(key string, revision uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.events[revision:] {
		if c.Key == key && c.deleted {
			return true
		}
	}
	return false
}
