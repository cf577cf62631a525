package projections

import (
	"context"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// Tail is the target that keeps this process caught up with the journal: the memory tier, and the
// heads that other engines have moved. It starts at the journal's head and keeps its position in
// memory, as its rows are there too.
type Tail struct {
	Memory   *tiers.Memory
	Refresh  func(s events.AggregateName, revision uint64)
	Source   history.Source
	Progress *Progress
	// Forgotten is called when the journal is not the one that was read before.
	Forgotten func()
	// Touched is called for every entry that changed, with its agent and the revision; Changed for
	// every document with its kind, id, state and revision. The order within a batch is not that of
	// the events.
	Touched func(agent string, revision uint64)
	Changed func(kind, id string, state []byte, revision uint64)
}

var (
	_ Target    = (*Tail)(nil)
	_ Forgetter = (*Tail)(nil)
)

// Forget implements Forgetter.
func (t *Tail) Forget(partition int) {
	t.Memory.Forget(partition)
	t.Progress.Reset(partition, 0)
	t.Forgotten()
}

// Load implements Target.
func (t *Tail) Load(ctx context.Context, partition int, _ string) (uint64, error) {
	if at := t.Progress.At(partition); at > 0 {
		return at, nil
	}
	head, err := t.Source.Head(ctx, partition)
	if err != nil {
		return 0, err
	}
	return t.Memory.Start(partition, head), nil
}

// Apply implements Target.
func (t *Tail) Apply(_ context.Context, partition int, _, _ uint64, c Changes) error {
	for i := range c.Entries {
		e := &c.Entries[i]
		t.Memory.Apply(partition, e.Entry, e.Deleted)
		t.Refresh(events.StateEntry(e.Agent, e.Key), e.Revision)
		t.Touched(e.Agent, e.Revision)
	}
	for i := range c.Docs {
		d := &c.Docs[i]
		t.Refresh(readmodel.NameOf(d.Doc.Kind, d.Doc.ID, d.Doc.Key), d.Revision)
		t.Changed(d.Kind, d.ID, d.State, d.Revision)
		if d.All {
			t.Memory.DropAgent(d.ID)
		}
		for _, key := range d.Evicted {
			t.Memory.Drop(d.ID, key)
		}
	}
	for i := range c.Poison { // the row before the event is stale
		m := &c.Poison[i]
		if kind, id, key := readmodel.RowOf(m.Name); kind == readmodel.KindEntry {
			t.Memory.Invalidate(partition, id, key, m.Revision)
		}
		t.Refresh(m.Name, m.Revision)
	}
	for i := range c.Losses {
		l := &c.Losses[i]
		t.Refresh(events.EntryConflicts(l.Agent, l.Key), l.Revision)
	}
	return nil
}
