package deployment

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// DocBuckets are the buckets of documents by kind. A lifecycle has no bucket in
// the topology.
var DocBuckets = map[string]hot.BucketConfig{
	readmodel.KindTask:     hot.TaskStateBucket,
	readmodel.KindSession:  hot.SessionDataBucket,
	readmodel.KindConfig:   hot.AgentConfigBucket,
	readmodel.KindClaim:    hot.ClaimStateBucket,
	readmodel.KindReminder: hot.ReminderStateBucket,
}

// HotTier is the KV tier for verify; each bucket has a TTL of its own.
func HotTier(t *hot.Hot) verify.Tier {
	return verify.Tier{
		Name: "kv", View: "hot", Keeps: t.TTLs(), Evicts: true,
		Each: t.EachRow, Of: t.RowOf, Restore: t.Restore, Chunks: t,
	}
}

// DurableTier is the SQL tier for verify; its rows do not expire.
func (s *Stores) DurableTier() verify.Tier {
	rows := durable.NewRows(s.DB)
	return verify.Tier{
		Name: "sql", View: "durable", Each: rows.EachRow, Of: rows.RowOf, Chunks: rows,
		Keeps: map[string]time.Duration{
			readmodel.KindEntry: 0, readmodel.KindTask: 0, readmodel.KindSession: 0, readmodel.KindReminder: 0,
			readmodel.KindConfig: 0, readmodel.KindClaim: 0, readmodel.KindView: 0, readmodel.KindInbox: 0, readmodel.KindLifecycle: 0, readmodel.KindConflict: 0, readmodel.KindMessage: 0,
		},
		Removed: func(ctx context.Context) (time.Time, error) { return s.DB.RemovedUpTo(ctx, pg.MessageRows) },
		Restore: func(ctx context.Context, streams []events.AggregateName) error {
			return durable.New(s.DB, "durable").Restore(ctx, s.History(), streams)
		},
	}
}

// hotStore is the hot view's buckets, opened from outside. Progress is the
// position that writes to the buckets carry.
type hotStore struct {
	*hot.Hot
	Progress *projections.Progress
	journal  *journal.Journal
}

// openHot opens the buckets that the hot view has written.
func openHot(ctx context.Context, nc *nats.Conn, j *journal.Journal) (*hotStore, error) {
	entries, err := hot.OpenExistingBucket(ctx, nc, hot.AgentStateBucket.Name)
	if err != nil {
		return nil, err
	}
	progress := projections.NewProgress(j.Partitions())
	t := hot.NewHot(entries, j, progress)
	for kind, cfg := range DocBuckets {
		b, err := hot.OpenExistingBucket(ctx, nc, cfg.Name)
		if err != nil {
			return nil, err
		}
		t.AddBucket(kind, b)
	}
	held, err := Quarantined(ctx, nc)
	if err != nil {
		return nil, err
	}
	t.Quarantined = func(p int, s events.AggregateName) bool {
		return slices.ContainsFunc(held, func(h quarantine.Entry) bool {
			return h.View == "hot" && h.Journal == j.ID() && h.Partition == p && h.Stream == s
		})
	}
	return &hotStore{Hot: t, Progress: progress, journal: j}, nil
}

// resume loads the positions of the buckets, so that later writes keep them and
// the running view goes on from there.
func (h *hotStore) resume(ctx context.Context) error {
	for p := range h.journal.Partitions() {
		at, err := h.Load(ctx, p, h.journal.ID())
		if err != nil {
			return fmt.Errorf("read the position of the hot view in partition %d: %w", p, err)
		}
		h.Progress.Reset(p, at)
	}
	return nil
}
