package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// hotTier is the buckets, each with a TTL of its own.
func hotTier(t *natsio.Hot) projections.Tier {
	return projections.Tier{
		Name: "kv", View: "hot", Keeps: t.Keeps(), Evicts: true,
		Each: t.EachRow, Of: t.RowOf, Restore: t.Restore, Places: t,
	}
}

// durableTier is the tables; nothing in them expires.
func durableTier(db *pg.DB, truth projections.Truth) projections.Tier {
	rows := pg.NewRows(db)
	return projections.Tier{
		Name: "sql", View: "durable", Each: rows.EachRow, Of: rows.RowOf, Places: rows,
		Keeps: map[string]time.Duration{
			projections.KindEntry: 0, readmodel.KindTask: 0, readmodel.KindSession: 0,
			readmodel.KindConfig: 0, readmodel.KindLifecycle: 0, projections.KindConflict: 0,
		},
		Restore: func(ctx context.Context, streams []events.Stream) error {
			return pg.NewDurable(db, "durable").Restore(ctx, truth, streams)
		},
	}
}

// openHot opens the hot view's buckets from outside, where they are.
func openHot(ctx context.Context, nc *nats.Conn, journal *natsio.Journal) (*natsio.Hot, *projections.Progress, error) {
	entries, err := natsio.ReadBucket(ctx, nc, natsio.AgentStateBucket.Name)
	if err != nil {
		return nil, nil, err
	}
	progress := projections.NewProgress(journal.Partitions())
	t := natsio.NewHot(entries, journal, progress)
	for kind, cfg := range docBuckets {
		b, err := natsio.ReadBucket(ctx, nc, cfg.Name)
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
		return slices.ContainsFunc(left, func(h projections.Held) bool {
			return h.View == "hot" && h.Journal == journal.ID() && h.Partition == p && h.Stream == s
		})
	}
	return t, progress, nil
}

// resume lets what is put into the buckets from outside say the position that
// they had before, so that the view goes on from there.
func resume(ctx context.Context, t *natsio.Hot, journal *natsio.Journal, progress *projections.Progress) error {
	for p := range journal.Partitions() {
		at, err := t.Load(ctx, p, journal.ID())
		if err != nil {
			return fmt.Errorf("the hot view cannot be repaired: %w", err)
		}
		progress.Reset(p, at)
	}
	return nil
}
