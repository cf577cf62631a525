package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// hotTier is the buckets, each with a TTL of its own.
func hotTier(t *hot.Hot) verify.Tier {
	return verify.Tier{
		Name: "kv", View: "hot", Keeps: t.Keeps(), Evicts: true,
		Each: t.EachRow, Of: t.RowOf, Restore: t.Restore, Places: t,
	}
}

// durableTier is the tables; nothing in them expires.
func durableTier(db *pg.DB, truth history.Truth) verify.Tier {
	rows := durable.NewRows(db)
	return verify.Tier{
		Name: "sql", View: "durable", Each: rows.EachRow, Of: rows.RowOf, Places: rows,
		Keeps: map[string]time.Duration{
			readmodel.KindEntry: 0, readmodel.KindTask: 0, readmodel.KindSession: 0,
			readmodel.KindConfig: 0, readmodel.KindLifecycle: 0, readmodel.KindConflict: 0,
		},
		Restore: func(ctx context.Context, streams []events.Stream) error {
			return durable.New(db, "durable").Restore(ctx, truth, streams)
		},
	}
}

// openHot opens the hot view's buckets from outside, where they are.
func openHot(ctx context.Context, nc *nats.Conn, journal *journal.Journal) (*hot.Hot, *projections.Progress, error) {
	entries, err := hot.ReadBucket(ctx, nc, hot.AgentStateBucket.Name)
	if err != nil {
		return nil, nil, err
	}
	progress := projections.NewProgress(journal.Partitions())
	t := hot.NewHot(entries, journal, progress)
	for kind, cfg := range docBuckets {
		b, err := hot.ReadBucket(ctx, nc, cfg.Name)
		if err != nil {
			return nil, nil, err
		}
		t.Keep(kind, b)
	}
	_, left, err := held(ctx, nc, "all")
	if err != nil {
		return nil, nil, err
	}
	t.Leaves = func(p int, s events.Stream) bool {
		return slices.ContainsFunc(left, func(h quarantine.Held) bool {
			return h.View == "hot" && h.Journal == journal.ID() && h.Partition == p && h.Stream == s
		})
	}
	return t, progress, nil
}

// resume lets what is put into the buckets from outside say the position that
// they had before, so that the view goes on from there.
func resume(ctx context.Context, t *hot.Hot, journal *journal.Journal, progress *projections.Progress) error {
	for p := range journal.Partitions() {
		at, err := t.Load(ctx, p, journal.ID())
		if err != nil {
			return fmt.Errorf("the hot view cannot be repaired: %w", err)
		}
		progress.Reset(p, at)
	}
	return nil
}
