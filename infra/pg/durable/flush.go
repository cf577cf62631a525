package durable

import (
	"context"
	"fmt"
	"sort"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

var _ tiers.HydrationTable = (*View)(nil)

// Flush implements readmodel.KeeperDurable. The view's own transactions come to
// the same events later and find the rows there; the revision guard keeps
// either from undoing the other.
func (t *View) Flush(ctx context.Context, entries []readmodel.EntryChange) error {
	changes := make([]readmodel.EntryChange, len(entries))
	for i, e := range entries {
		changes[i] = readmodel.EntryChange(e)
	}
	sort.Slice(changes, func(i, j int) bool { return changes[i].Key < changes[j].Key })
	err := t.db.InTx(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		queueEntries(b, t.schema, changes)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return fmt.Errorf("flush %d entries: %w", len(entries), err)
	}
	return nil
}
