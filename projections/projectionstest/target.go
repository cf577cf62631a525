// Package projectionstest is the conformance suite of projections.Target, which every adapter
// runs.
package projectionstest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Store is the store of a target; it survives reopening the target.
type Store struct {
	ID         string // of the journal that it is folded from
	Partitions int
	// Open opens the target as a starting process does; its runners report their positions to
	// progress.
	Open func(t *testing.T, progress *projections.Progress) projections.Target
	// Get reads a row; Keep removes from an expected row what the store does not keep.
	Get  func(t *testing.T, agent, key string) (readmodel.Entry, bool)
	Keep func(readmodel.Entry) readmodel.Entry
	// Fenced: an Apply from another position than the store's writes nothing.
	Fenced bool
	// Exact: Load returns the end of the last Apply, not just a safe position before it.
	Exact bool
}

// Target runs the suite; open makes a new, empty store.
func Target(t *testing.T, open func(t *testing.T) Store) {
	for _, c := range []struct {
		name string
		test func(*view, *testing.T)
	}{
		{"a new view is at the beginning", (*view).beginning},
		{"what was applied is there", (*view).applied},
		{"applied again changes nothing", (*view).again},
		{"a stale apply loses", (*view).stale},
		{"what is deleted is gone", (*view).deleted},
		{"a batch of any size", (*view).large},
		{"values and times stay as they are", (*view).exact},
		{"a restart leaves nothing out", (*view).restart},
		{"another journal's view is refused", (*view).foreign},
		{"partitions move on their own", (*view).partitions},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := &view{Store: open(t), rows: map[string]readmodel.EntryChange{}}
			v.start(t)
			c.test(v, t)
		})
	}
}

// view is a target with the rows that it must have.
type view struct {
	Store
	target   projections.Target
	progress *projections.Progress
	rows     map[string]readmodel.EntryChange // by "<agent> <key>"
}

// start opens the target again, as after a restart.
func (v *view) start(t *testing.T) {
	v.progress = projections.NewProgress(v.Partitions)
	v.target = v.Open(t, v.progress)
}

// load reads a partition's position, as its runner does.
func (v *view) load(t *testing.T, partition int) uint64 {
	t.Helper()
	at, err := v.target.Load(t.Context(), partition, v.ID)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	v.progress.Set(partition, at)
	return at
}

// apply writes a batch, as a runner does, and records the expected rows.
func (v *view) apply(t *testing.T, from, to uint64, changes ...readmodel.EntryChange) {
	t.Helper()
	if err := v.target.Apply(t.Context(), 0, from, to, projections.Changes{Entries: changes}); err != nil {
		t.Fatalf("apply %d to %d: %v", from, to, err)
	}
	v.progress.Set(0, to)
	for _, c := range changes {
		v.rows[c.Agent+" "+c.Key] = c
	}
}

// repeat writes a batch from a stale position.
func (v *view) repeat(t *testing.T, from, to uint64, changes ...readmodel.EntryChange) {
	t.Helper()
	err := v.target.Apply(t.Context(), 0, from, to, projections.Changes{Entries: changes})
	if v.Fenced && !errors.Is(err, projections.ErrFenced) || !v.Fenced && err != nil {
		t.Errorf("apply %d to %d again: %v", from, to, err)
	}
}

// check compares all rows.
func (v *view) check(t *testing.T) {
	t.Helper()
	for name, want := range v.rows {
		got, found := v.Get(t, want.Agent, want.Key)
		switch {
		case found == want.Deleted:
			t.Errorf("%s: found %t, deleted %t", name, found, want.Deleted)
		case found && !reflect.DeepEqual(got, v.Keep(want.Entry)):
			t.Errorf("%s is\n%+v\nwant\n%+v", name, got, v.Keep(want.Entry))
		}
	}
}

var when = time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)

func set(key string, revision uint64) readmodel.EntryChange {
	return readmodel.EntryChange{Entry: readmodel.Entry{
		Agent: "a1", Key: key, Value: fmt.Appendf(nil, `{ "at": %d }`, revision), Timestamp: when.Add(time.Duration(revision)),
		Writer: "w", Version: revision, Revision: revision, UpdatedAt: when.Truncate(time.Microsecond), Digest: fmt.Sprint("d", revision),
	}}
}

func del(key string, revision uint64) readmodel.EntryChange {
	c := set(key, revision)
	c.Value, c.Deleted = nil, true
	return c
}

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

func (v *view) applied(t *testing.T) {
	v.load(t, 0)
	v.apply(t, 0, 2, set("k", 1), set("l", 2))
	v.check(t)
	v.apply(t, 2, 3, set("k", 3))
	v.apply(t, 3, 9) // events that change no row
	v.apply(t, 9, 12, del("l", 10), set("m.n=/", 12))
	v.check(t)
	v.apply(t, 12, 14, set("l", 13))
	v.check(t)
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

func (v *view) deleted(t *testing.T) {
	v.load(t, 0)
	v.apply(t, 0, 1, del("never", 1))
	v.apply(t, 1, 2, set("k", 2))
	v.apply(t, 2, 3, del("k", 3))
	v.check(t)
	v.apply(t, 3, 4, del("k", 4))
	v.check(t)
	v.apply(t, 4, 6, set("k", 5), set("never", 6))
	v.check(t)
	v.apply(t, 6, 8, del("k", 7), del("never", 8))
	v.start(t)
	v.load(t, 0)
	v.check(t)
}

func (v *view) large(t *testing.T) {
	v.load(t, 0)
	const n = 2300 // more than any request of an adapter takes
	var first, second []readmodel.EntryChange
	for i := range uint64(n) {
		first = append(first, set(fmt.Sprintf("k%04d", i), i+1))
		if i%3 == 0 {
			second = append(second, del(fmt.Sprintf("k%04d", i), n+i+1))
		} else {
			second = append(second, set(fmt.Sprintf("k%04d", i), n+i+1))
		}
	}
	v.apply(t, 0, n, first...)
	v.start(t) // the new target has no cached rows
	v.load(t, 0)
	v.apply(t, n, 2*n, second...)
	v.check(t)
}

func (v *view) exact(t *testing.T) {
	v.load(t, 0)
	values := []string{
		`null`, `true`, `0`, `-0`, `1.50`, `1E+2`, `1e308`, `-1e-308`, `9e308`, `12345678901234567890`, strings.Repeat("9", 40), `""`,
		`"\u0041\/\ud83d\ude00é😀"`, "\"\u2028\x7f\u0080\uffff\"", `"\\u0000 '; DROP TABLE agents.state; --"`, `[]`, `{}`, `[ ]`,
		`{ "b" : 1.50,` + "\r\n\t" + `"a":[ 1 , 2 ],"":{"":null} }`, `{"a":1,"A":2,"\u0062":3}`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64),
		`"` + strings.Repeat("v", 256<<10-2) + `"`, "[" + strings.Repeat("1e308,", 30_000) + "0]",
	}
	var batch []readmodel.EntryChange
	for i, value := range values {
		c := set(fmt.Sprintf("v%02d", i), uint64(i+1))
		c.Value = []byte(value)
		batch = append(batch, c)
	}
	for i, ts := range []time.Time{
		time.Time{}.Add(1), time.Unix(0, 0).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999999001, time.UTC), time.Date(1999, 12, 31, 23, 59, 59, 999, time.UTC),
	} {
		c := set(fmt.Sprintf("w%02d", i), uint64(len(values)+i+1))
		c.Timestamp = ts
		batch = append(batch, c)
	}
	c := set(strings.Repeat("x", 255), 99)
	c.Agent, c.Writer, c.Version = strings.Repeat("y", 128), "w \" \\ \n é '; --", 1<<62
	batch = append(batch, c)
	v.apply(t, 0, 99, batch...)
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
