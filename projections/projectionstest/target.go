// Package projectionstest is the conformance suite of projections.Target, which every adapter
// runs.
package projectionstest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

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
