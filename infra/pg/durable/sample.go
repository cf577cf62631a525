package durable

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel"
)

var _ verify.Chunks = Rows{}

// rowKinds fixes the order in which blocks are numbered.
var rowKinds = [...]string{
	readmodel.KindEntry, readmodel.KindConflict, readmodel.KindTask,
	readmodel.KindSession, readmodel.KindReminder, readmodel.KindConfig, readmodel.KindClaim, readmodel.KindView, readmodel.KindInbox, readmodel.KindLifecycle,
}

// Chunks implements verify.Chunks: the number of blocks of all tables.
func (d Rows) Chunks(ctx context.Context) (int, error) {
	_, _, n, err := d.block(ctx, -1)
	return n, err
}

func (d Rows) block(ctx context.Context, place int) (kind string, block, all int, err error) {
	for _, kind := range rowKinds {
		var n int
		err := d.db.Pool().QueryRow(ctx, `SELECT pg_relation_size($1::regclass) / current_setting('block_size')::int`, d.db.In(tables[kind].name)).Scan(&n)
		if err != nil {
			return "", 0, 0, fmt.Errorf("measure %s: %w", tables[kind].name, err)
		}
		if place >= all && place < all+n {
			return kind, place - all, all, nil
		}
		all += n
	}
	return "", 0, all, nil
}

// At implements verify.Chunks.
func (d Rows) At(ctx context.Context, place int) ([]events.AggregateName, error) {
	kind, block, _, err := d.block(ctx, place)
	if err != nil || kind == "" {
		return nil, err
	}
	t := tables[kind]
	rows, err := d.db.Pool().Query(ctx, `SELECT DISTINCT `+t.id+`, `+t.key+` FROM `+t.name+
		fmt.Sprintf(` WHERE ctid >= '(%d,0)'::tid AND ctid < '(%d,0)'::tid`, block, block+1))
	if err != nil {
		return nil, fmt.Errorf("read a block of %s: %w", t.name, err)
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (events.AggregateName, error) {
		var id, key string
		err := r.Scan(&id, &key)
		if key != "" {
			id += "." + key
		}
		return readmodel.NameOfRow(kind, id), err
	})
}
