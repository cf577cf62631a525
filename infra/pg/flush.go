package pg

import (
	"context"
	"fmt"
	"sort"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

var _ readmodel.KeeperDurable = (*Durable)(nil)

// Flush implements readmodel.KeeperDurable. The view's own transactions come to
// the same events later and find the rows there; the revision guard keeps
// either from undoing the other.
func (t *Durable) Flush(ctx context.Context, entries []readmodel.DirtyEntry) error {
	changes := make([]projections.EntryChange, len(entries))
	for i, e := range entries {
		changes[i] = projections.EntryChange(e)
	}
	sort.Slice(changes, func(i, j int) bool { return changes[i].Key < changes[j].Key })
	err := t.db.inTx(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		queueEntries(b, t.schema, changes)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return fmt.Errorf("flush %d entries: %w", len(entries), err)
	}
	return nil
}
