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

// Flush implements tiers.HydrationTable. The view folds the same events later;
// the revision check in the upsert prevents either from replacing a newer row.
func (t *View) Flush(ctx context.Context, entries []readmodel.EntryChange) error {
	changes := make([]readmodel.EntryChange, len(entries))
	for i, e := range entries {
		changes[i] = readmodel.EntryChange(e)
	}
	sort.Slice(changes, func(i, j int) bool { return changes[i].Key < changes[j].Key })
	// gofail: var flushRows struct{}
	// return context.DeadlineExceeded
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
