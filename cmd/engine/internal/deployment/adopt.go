package deployment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

// DetachArchive moves the archive aside when it is another journal's; schema is
// "" when it is this journal's.
func (s *Stores) DetachArchive(ctx context.Context) (schema string, err error) {
	return rebuild.DetachArchive(ctx, s.History(), s.Archive())
}

// Adopt rebuilds, from the journal, the views in SQL, KV and the feeds whose rows
// were folded from another journal, or from events that the journal has lost. It
// returns the views that it has rebuilt. lost: the journal has lost events; the
// position in a bucket does not show whether it has rows of them.
func (s *Stores) Adopt(ctx context.Context, nc *nats.Conn, subjects natsio.Subjects, embedded, lost bool, log *slog.Logger) (done []string, err error) {
	noStep := func(rebuild.Step) {}
	streams, err := feeds.NewStreams(nc, subjects, embedded, log)
	if err != nil {
		return nil, err
	}
	kv, err := openHot(ctx, nc, s.Journal)
	if err != nil {
		return nil, err
	}
	published, sent := feeds.New(streams, s.Journal), feeds.NewMessages(streams, s.Journal)
	views := []adoption{
		{"hot", kv, func(ctx context.Context) error {
			report, err := s.RebuildHot(ctx, kv.Hot, func(context.Context, []uint64) {}, noStep)
			if err != nil {
				return err
			}
			for p, head := range report.Heads {
				kv.Progress.Reset(p, head)
			}
			return kv.MarkRebuilt(ctx)
		}},
		{"feeds", published, func(ctx context.Context) error {
			if err := published.Accept(ctx); err != nil {
				return err
			}
			_, err := published.Rebuild(ctx, noStep)
			return err
		}},
		{feeds.MessagesView, sent, sent.Accept},
	}
	if s.DB != nil {
		views = append(views, adoption{"durable", durable.New(s.DB, "durable"), func(ctx context.Context) error {
			_, err := s.RebuildDurable(ctx, true, noStep)
			return err
		}}, adoption{durable.MessagesView, durable.NewMessages(s.DB, durable.MessagesView, nil), func(ctx context.Context) error {
			_, err := s.rebuildMessages(ctx, nc, true, noStep)
			return err
		}})
	}
	for _, v := range views {
		if fits, err := s.fits(ctx, v.target); err != nil {
			return done, fmt.Errorf("view %s: %w", v.name, err)
		} else if fits && (!lost || v.name != "hot") {
			continue
		}
		if err := coordination.WithLock(ctx, nc, v.name, v.rebuild); err != nil {
			return done, fmt.Errorf("rebuild view %s: %w", v.name, err)
		}
		done = append(done, v.name)
	}
	return done, nil
}

// adoption is a view that Adopt may rebuild.
type adoption struct {
	name    string
	target  projections.Target
	rebuild func(context.Context) error
}

// fits reports whether a view's rows were folded from this journal and from
// nothing that it has lost.
func (s *Stores) fits(ctx context.Context, view projections.Target) (bool, error) {
	for p := range s.Journal.Partitions() {
		at, err := view.Load(ctx, p, s.Journal.ID())
		if err == nil {
			var head uint64
			if head, err = s.Journal.Head(ctx, p); err == nil && at > head {
				return false, nil
			}
		}
		if err == nil {
			err = projections.CheckDigest(ctx, s.History(), view, p)
		}
		if errors.Is(err, history.ErrForeignJournal) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
