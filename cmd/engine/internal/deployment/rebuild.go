package deployment

import (
	"context"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// RebuildDurable folds the history into shadow tables beside the durable view
// and swaps them. accept makes this journal the view's, whichever it was.
func (s *Stores) RebuildDurable(ctx context.Context, accept bool, step func(rebuild.Step)) (*rebuild.Rebuilt, error) {
	src := s.History()
	if !accept {
		if err := projections.CheckJournal(ctx, src, durable.New(s.DB, "durable")); err != nil {
			return nil, err
		}
	}
	shadow, err := durable.NewShadow(ctx, s.DB, "durable", src.ID(), src.Partitions(), accept)
	if err != nil {
		return nil, err
	}
	r := rebuild.Rebuild{View: "durable", Source: src, Shadow: shadow, Accept: accept, Step: step}
	return r.Run(ctx)
}

// RebuildHot compares the rows of the hot view's buckets with the history and
// rewrites those that differ. caughtUp waits for the running view. The archive
// is read only where the journal is trimmed.
func (s *Stores) RebuildHot(ctx context.Context, h *hot.Hot, caughtUp func(context.Context, []uint64), step func(rebuild.Step)) (*rebuild.ResetReport, error) {
	r := rebuild.Reset{
		View: "hot", Journal: s.Journal, Tiers: []verify.Tier{HotTier(h)}, Of: "kv", WaitCaughtUp: caughtUp, Step: step,
		Quarantined: func(_ int, a events.AggregateName) bool { return h.Quarantined(s.Journal.Partition(a.ID()), a) },
	}
	trimmed, err := Trimmed(ctx, s.Journal)
	if err != nil {
		return nil, err
	}
	if trimmed && s.DB != nil {
		r.Archive = s.Archive()
	}
	return r.Run(ctx)
}

// RebuildArchive compares the archive with the journal and rewrites the events
// that are missing or differ.
func (s *Stores) RebuildArchive(ctx context.Context, caughtUp func(context.Context, []uint64), step func(rebuild.Step)) (*rebuild.ResetReport, error) {
	if err := projections.CheckJournal(ctx, s.History(), s.Archive()); err != nil {
		return nil, err
	}
	r := rebuild.Reset{View: ArchiveView, Journal: s.Journal, Archive: s.Archive(), Of: verify.InArchive, WaitCaughtUp: caughtUp, Step: step}
	return r.Run(ctx)
}
