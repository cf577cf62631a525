package deployment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
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
	trimmed, err := trimmed(ctx, s.Journal)
	if err != nil {
		return nil, err
	}
	if trimmed && s.DB != nil {
		r.Archive = s.Archive()
	}
	return r.Run(ctx)
}

// rebuildArchive compares the archive with the journal and rewrites the events
// that are missing or differ.
func (s *Stores) rebuildArchive(ctx context.Context, caughtUp func(context.Context, []uint64), step func(rebuild.Step)) (*rebuild.ResetReport, error) {
	if err := projections.CheckJournal(ctx, s.History(), s.Archive()); err != nil {
		return nil, err
	}
	r := rebuild.Reset{View: ArchiveView, Journal: s.Journal, Archive: s.Archive(), Of: verify.InArchive, WaitCaughtUp: caughtUp, Step: step}
	return r.Run(ctx)
}

// messageBatch is the number of events that a rebuild of the messages folds at a time.
const messageBatch = 500

// rebuildMessages folds the messages again beside the running view. Those that are in the
// inboxes keep their marks; rows from before messages were events stay. What the running
// view holds in quarantine is left to it.
func (s *Stores) rebuildMessages(ctx context.Context, nc *nats.Conn, accept bool, step func(rebuild.Step)) (*rebuild.ResetReport, error) {
	began, src := time.Now(), s.History()
	view := durable.NewMessages(s.DB, durable.MessagesView, durable.LivingIn(src, false))
	if !accept {
		if err := projections.CheckJournal(ctx, src, view); err != nil {
			return nil, err
		}
	}
	excluded, err := s.excludedBy(ctx, nc, durable.MessagesView)
	if err != nil {
		return nil, err
	}
	if err := view.Again(ctx, src.ID()); err != nil {
		return nil, err
	}
	done := &rebuild.ResetReport{View: durable.MessagesView, Keys: []rebuild.RowChange{}, Left: []rebuild.RowChange{}, Passes: 1}
	for p := range src.Partitions() {
		head, err := src.Head(ctx, p)
		if err != nil {
			return nil, err
		}
		done.Heads = append(done.Heads, head)
		for at := uint64(0); ; {
			if at, err = view.Load(ctx, p, src.ID()); err != nil { // the running view folds too
				return nil, err
			}
			step(rebuild.Step{Name: "fold", Events: at, Of: head})
			if at >= head {
				break
			}
			if err := foldMessages(ctx, src, view, p, at, head, excluded); err != nil && !errors.Is(err, projections.ErrFenced) {
				return nil, err
			}
		}
		done.Events += head
	}
	n, err := view.Sweep(ctx)
	done.Rows, done.Seconds = int(n), time.Since(began).Seconds()
	done.Rate = float64(done.Events) / done.Seconds
	return done, err
}

// foldMessages applies the events after a revision to the view, one batch.
func foldMessages(ctx context.Context, src *history.History, view durable.Messages, p int, after, head uint64, excluded func(history.Message) bool) error {
	var batch []history.Message
	to := min(head, after+messageBatch)
	err := src.Between(ctx, p, after, to, func(m history.Message) error {
		batch = append(batch, m)
		return nil
	})
	if err != nil {
		return err
	}
	c := view.Fold(slices.DeleteFunc(slices.Clone(batch), excluded))
	if len(c.Poison) > 0 {
		m := &c.Poison[0]
		return fmt.Errorf("revision %d of partition %d (%s) cannot be folded: %w", m.Revision, p, m.Name, m.Bad)
	}
	c.Messages = batch // the digest at the position is the last event's
	return view.Apply(ctx, p, after, to, c)
}
