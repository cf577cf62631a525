package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/projections"
)

// ShadowPlan is what a rebuild of the durable view would take.
type ShadowPlan struct {
	Events  uint64  `json:"events"`  // to fold
	Rate    float64 `json:"rate"`    // events a second, by a sample
	Seconds float64 `json:"seconds"` // about
	Bytes   int64   `json:"bytes"`   // disk beside the live tables, about
}

// planned is the schema in which a sample is folded, and rolled back.
const planned schema = "agents_plan"

// sampleEvents bounds the sample that a plan folds.
const sampleEvents = 10_000

var errSampled = errors.New("sampled")

// PlanShadow folds the journal's first events in a transaction that it rolls
// back. It changes nothing.
func PlanShadow(ctx context.Context, db *DB, src projections.Source) (p ShadowPlan, err error) {
	for i := range src.Partitions() {
		head, err := src.Head(ctx, i)
		if err != nil {
			return p, err
		}
		p.Events += head
	}
	err = db.pool.QueryRow(ctx, `SELECT coalesce(sum(pg_total_relation_size('agents.' || name)), 0)::bigint FROM unnest($1::text[]) AS name`,
		tableNames()).Scan(&p.Bytes)
	if err != nil {
		return p, fmt.Errorf("size of the tables: %w", err)
	}
	s := &Shadow{db: db, partitions: src.Partitions(), journal: src.ID(), fold: &Durable{db: db, view: "plan", schema: planned}}
	err = db.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.create(ctx, tx, planned); err != nil {
			return err
		}
		began := time.Now()
		n, err := projections.Sample(ctx, src, sampleEvents, func(ctx context.Context, p int, from, to uint64, c projections.Changes) error {
			return s.apply(ctx, tx, p, from, to, c)
		})
		if err != nil {
			return err
		}
		p.Rate = float64(n) / time.Since(began).Seconds()
		return errSampled
	})
	if !errors.Is(err, errSampled) {
		return p, err
	}
	if p.Rate > 0 {
		p.Seconds = float64(p.Events) / p.Rate
	}
	return p, nil
}

func tableNames() []string {
	names := make([]string, len(shadowTables))
	for i := range shadowTables {
		names[i] = shadowTables[i].name
	}
	return names
}
