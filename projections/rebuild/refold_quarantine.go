package rebuild

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
)

// A rebuild leaves out what cannot be applied by the rules of a runner: the
// event and all later ones of its aggregate. So one event never keeps a view
// from being rebuilt.

// write writes a batch without what is left out. What the target refuses is
// found by halves.
func (f *refold) write(ctx context.Context, p int, from uint64, b foldedBatch, write apply) error {
	n := len(b.batch)
	err := write(ctx, p, from, b.batch[n-1].Revision, f.without(&b))
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
	if f.held[m.Stream] != 0 {
		return err // it is left out already
	}
	m.Bad, f.held[m.Stream] = err, m.Revision
	return f.write(ctx, p, from, foldedBatch{batch: b.batch}, write)
}

// without folds a batch, unless it is folded, and leaves out what is held or
// cannot be folded.
func (f *refold) without(b *foldedBatch) projections.Changes {
	rest, left := f.split(b.batch)
	c := b.changes
	if len(left) > 0 || !b.folded {
		c = projections.Fold(rest)
	}
	if len(c.Poison) == 0 {
		c.Held = left
		return c
	}
	for i := range c.Poison {
		if m := &c.Poison[i]; f.held[m.Stream] == 0 {
			f.held[m.Stream] = m.Revision
		}
	}
	b.folded = false
	return f.without(b)
}

func (f *refold) split(batch []history.Message) (rest, left []history.Message) {
	if len(f.held) == 0 {
		return batch, nil
	}
	rest = make([]history.Message, 0, len(batch))
	for _, m := range batch {
		switch first := f.held[m.Stream]; {
		case first == 0 || m.Revision < first:
			rest = append(rest, m)
		default:
			if m.Revision > first {
				m.Bad = fmt.Errorf("waits behind revision %d", first)
			}
			left = append(left, m)
		}
	}
	return rest, left
}
