package rebuild

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
)

// write writes a batch without the quarantined aggregates. As in a runner, an event that cannot be
// applied takes its aggregate out from that event on, so one event never prevents a rebuild. An
// event that the target refuses is found by halving the batch.
func (f *refold) write(ctx context.Context, p int, from uint64, b foldedBatch, write apply) error {
	n := len(b.batch)
	err := write(ctx, p, from, b.batch[n-1].Revision, f.foldRemaining(&b))
	if !errors.Is(err, projections.ErrUnappliable) {
		return err
	}
	if n > 1 {
		mid := b.batch[n/2-1].Revision
		if err := f.write(ctx, p, from, foldedBatch{batch: b.batch[:n/2]}, write); err != nil {
			return err
		}
		return f.write(ctx, p, mid, foldedBatch{batch: b.batch[n/2:]}, write)
	}
	m := &b.batch[0]
	if f.quarantined[m.Name] != 0 {
		return err // it is quarantined already
	}
	m.Bad, f.quarantined[m.Name] = projections.Refusal(err), m.Revision
	return f.write(ctx, p, from, foldedBatch{batch: b.batch}, write)
}

// foldRemaining folds a batch unless it is folded already, without the events that are quarantined
// or cannot be folded.
func (f *refold) foldRemaining(b *foldedBatch) projections.Changes {
	rest, waiting := f.split(b.batch)
	c := b.changes
	if len(waiting) > 0 || !b.folded {
		c = projections.Fold(rest)
	}
	if len(c.Poison) == 0 {
		c.Quarantined = waiting
		return c
	}
	for i := range c.Poison {
		if m := &c.Poison[i]; f.quarantined[m.Name] == 0 {
			f.quarantined[m.Name] = m.Revision
		}
	}
	b.folded = false
	return f.foldRemaining(b)
}

func (f *refold) split(batch []history.Message) (rest, waiting []history.Message) {
	if len(f.quarantined) == 0 {
		return batch, nil
	}
	rest = make([]history.Message, 0, len(batch))
	for _, m := range batch {
		switch first := f.quarantined[m.Name]; {
		case first == 0 || m.Revision < first:
			rest = append(rest, m)
		default:
			if m.Revision > first {
				m.Bad = fmt.Errorf("waits behind revision %d", first)
			}
			waiting = append(waiting, m)
		}
	}
	return rest, waiting
}
