package durable

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

// ShadowPlan estimates the cost of a rebuild of the durable view.
type ShadowPlan struct {
	rebuild.FoldPlan
	Bytes int64 `json:"bytes"` // additional disk space, estimated from the live tables
}

// planned is the schema of a sample, which is rolled back.
const planned pg.Schema = "agents_plan"

var errSampled = errors.New("sampled")

// PlanShadow measures the fold of the journal's first events in a transaction that
// it rolls back.
func PlanShadow(ctx context.Context, db *pg.DB, src history.Source) (p ShadowPlan, err error) {
	err = db.Pool().QueryRow(ctx, `SELECT coalesce(sum(pg_total_relation_size('agents.' || name)), 0)::bigint FROM unnest($1::text[]) AS name`,
		tableNames()).Scan(&p.Bytes)
	if err != nil {
		return p, fmt.Errorf("measure the tables: %w", err)
	}
	s := &Shadow{db: db, partitions: src.Partitions(), journal: src.ID(), fold: &View{db: db, view: "plan", schema: planned},
		quarantined: map[events.AggregateName]quarantineStart{}}
	err = db.InTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, pg.NoTimeouts)
		if err == nil {
			err = s.create(ctx, tx, planned)
		}
		if err != nil {
			return err
		}
		p.FoldPlan, err = rebuild.PlanWith(ctx, src, func(ctx context.Context, p int, from, to uint64, c projections.Changes) error {
			return s.apply(ctx, tx, p, from, to, c)
		})
		if err != nil {
			return err
		}
		return errSampled
	})
	if errors.Is(err, errSampled) {
		err = nil
	}
	return p, err
}

func tableNames() []string {
	names := make([]string, len(shadowTables))
	for i := range shadowTables {
		names[i] = shadowTables[i].name
	}
	return names
}
