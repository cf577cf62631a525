package projectionstest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

func (v *view) beginning(t *testing.T) {
	for p := range v.Partitions {
		for range 2 {
			if at := v.load(t, p); at != 0 {
				t.Errorf("partition %d is at %d", p, at)
			}
		}
	}
	if _, found := v.Get(t, "a1", "k"); found {
		t.Error("a row in a new view")
	}
}

func (v *view) again(t *testing.T) {
	v.load(t, 0)
	v.apply(t, 0, 2, set("k", 1), set("l", 2))
	v.repeat(t, 0, 2, set("k", 1), set("l", 2))
	v.check(t)
	v.apply(t, 2, 4, del("k", 3), set("m", 4))
	v.repeat(t, 2, 4, del("k", 3), set("m", 4))
	v.check(t)
}

// stale is a second runner that loaded the position before the first one advanced it.
func (v *view) stale(t *testing.T) {
	v.load(t, 0)
	late := v.Open(t, v.progress)
	if _, err := late.Load(t.Context(), 0, v.ID); err != nil {
		t.Fatal(err)
	}
	v.apply(t, 0, 3, set("k", 1), set("l", 2), set("m", 3))
	v.apply(t, 3, 6, set("k", 4), del("l", 5), set("m", 6))
	for range 2 {
		first := v.target
		v.target = late
		v.repeat(t, 0, 3, set("k", 1), set("l", 2), set("m", 3))
		v.repeat(t, 0, 1, set("k", 1))
		v.target = first
		v.check(t)
		v.repeat(t, 0, 3, set("k", 1), set("l", 2), set("m", 3)) // the first one too, after a failure
		v.check(t)
	}
	v.apply(t, 6, 7, set("l", 7))
	v.check(t)
}

// restart applies a long history with restarts and lost answers: the position that Load returns
// must be safe.
func (v *view) restart(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("random seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	var history []readmodel.EntryChange
	for r := uint64(1); r <= 300; r++ {
		key := fmt.Sprint("k", random.IntN(20))
		if random.IntN(4) == 0 {
			history = append(history, del(key, r))
		} else {
			history = append(history, set(key, r))
		}
	}
	at, furthest := v.load(t, 0), uint64(0)
	for at < uint64(len(history)) {
		to := min(at+1+random.Uint64N(12), uint64(len(history)))
		last := map[string]readmodel.EntryChange{}
		for _, c := range history[at:to] {
			last[c.Key] = c
		}
		var batch []readmodel.EntryChange
		for _, c := range last {
			batch = append(batch, c)
		}
		slices.SortFunc(batch, func(a, b readmodel.EntryChange) int { return strings.Compare(a.Key, b.Key) })
		v.apply(t, at, to, batch...)
		at, furthest = to, max(furthest, to)
		if random.IntN(4) == 0 {
			v.start(t)
			switch at = v.load(t, 0); {
			case at > furthest:
				t.Fatalf("at %d after a restart, had reached %d", at, furthest)
			case v.Exact && at != to:
				t.Fatalf("at %d after a restart, was at %d", at, to)
			}
		}
	}
	v.check(t)
	for r := range v.rows {
		if latest := v.rows[r]; latest.Revision == 0 {
			t.Errorf("%s is lost", r)
		}
	}
}

func (v *view) foreign(t *testing.T) {
	v.load(t, 0)
	v.apply(t, 0, 1, set("k", 1))
	v.start(t)
	if at, err := v.target.Load(t.Context(), 0, "another"+v.ID); !errors.Is(err, history.ErrForeignJournal) {
		t.Errorf("at %d, %v", at, err)
	}
	v.load(t, 0)
	v.check(t)
}

func (v *view) partitions(t *testing.T) {
	for p := range v.Partitions {
		v.load(t, p)
	}
	for p := range v.Partitions {
		c := set(fmt.Sprint("p", p), 100)
		if err := v.target.Apply(t.Context(), p, 0, uint64(10*(p+1)), projections.Changes{Entries: []readmodel.EntryChange{c}}); err != nil {
			t.Fatal(err)
		}
		v.progress.Set(p, uint64(10*(p+1)))
		v.rows[c.Agent+" "+c.Key] = c
	}
	v.start(t)
	for p := range v.Partitions {
		if at := v.load(t, p); at > uint64(10*(p+1)) || v.Exact && at != uint64(10*(p+1)) {
			t.Errorf("partition %d is at %d", p, at)
		}
	}
	v.check(t)
}
