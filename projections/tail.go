package projections

import (
	"context"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Tail is the target that keeps this process level with the journal: the
// memory tier, and the heads that other engines have moved. It starts at the
// journal's head and keeps its position in memory, for that is where its rows
// are.
type Tail struct {
	Memory   *readmodel.Memory
	Refresh  func(s events.Stream, revision uint64)
	Source   Source
	Progress *Progress
}

var _ Target = (*Tail)(nil)

// Load implements Target.
func (t *Tail) Load(ctx context.Context, partition int, _ string) (uint64, error) {
	if at := t.Progress.At(partition); at > 0 {
		return at, nil
	}
	return t.Source.Head(ctx, partition)
}

// Apply implements Target.
func (t *Tail) Apply(_ context.Context, partition int, _, _ uint64, c Changes) error {
	for i := range c.Entries {
		e := &c.Entries[i]
		t.Memory.Pass(partition, e.Entry, e.Deleted)
		t.Refresh(events.StateEntry(e.Agent, e.Key), e.Revision)
	}
	for i := range c.Losses {
		l := &c.Losses[i]
		t.Refresh(events.EntryConflicts(l.Agent, l.Key), l.Revision)
	}
	return nil
}
