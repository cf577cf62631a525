package app

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
)

// Under load, one write for each event costs more than it is worth: a view then
// waits this long between two writes.
const (
	busyHot   = 2 * time.Millisecond
	busyFlush = 20 * time.Millisecond

	busyDeclared = 200 * time.Millisecond // there may be many, and each writes rows of its own
)

// startViews starts every view with its batching: memory, feeds, message-feed, hot, messages,
// archive, durable. The last three, which need SQL, are left out without it.
func (e *Engine) startViews() error {
	m := e.model
	if e.postgres.DB != nil {
		var err error
		if e.views.declared, err = newDeclaredViews(e.nats, e.views, e.journal, e.postgres.DB, e.readiness, e.log); err != nil {
			return err
		}
	}
	m.hot.Loaded = e.commands.activity.KeepAll
	e.views.startLocal("memory", &projections.Tail{
		Memory: m.memory, Refresh: e.commands.handler.Refresh, Source: e.journal.history.Retained(), Progress: m.tail,
		Forgotten: e.commands.forget, Touched: e.commands.written, Changed: e.changed,
	}, m.tail, projections.Batching{Busy: busyHot, Max: 1000})
	if err := e.views.start("feeds", feeds.New(e.streams.Streams, e.journal.Journal), projections.NewProgress(e.journal.Partitions()),
		projections.Batching{Threshold: 1000, Pace: 25 * time.Millisecond, Max: 2000}); err != nil {
		return err
	}
	if err := e.views.start(feeds.MessagesView, feeds.NewMessages(e.streams.Streams, e.journal.Journal), projections.NewProgress(e.journal.Partitions()),
		projections.Batching{Threshold: 1000, Busy: busyFlush, Max: 2000}); err != nil {
		return err
	}
	e.purges.add(m.hot.Purged)
	if e.views.declared != nil {
		e.purges.add(e.views.declared.buckets.Purged)
	}
	followed, err := m.hot.FollowPurges(e.purges.call)
	if err != nil {
		return err
	}
	e.stops.Add(func(context.Context) { followed() })
	e.stops.Add(lifecycle.InBackground(e.keepUnfinished))
	if err := e.views.start("hot", m.hot, m.hotProgress, projections.Batching{Busy: busyHot, Max: 2000}); err != nil || e.postgres.DB == nil {
		return err
	}
	if err := e.views.start(durable.MessagesView, durable.NewMessages(e.postgres.DB, durable.MessagesView, durable.LivingIn(e.journal.history, false)), m.inboxProgress,
		projections.Batching{Threshold: 1000, Pace: 25 * time.Millisecond, Max: 2000}); err != nil {
		return err
	}
	if e.views.broadcast != nil {
		e.stops.Add(lifecycle.InBackground(func(ctx context.Context) { e.views.broadcast.CompareRows(ctx, e.postgres.Positions) }))
	}
	// No reader waits for the archive, so it takes large batches.
	if err := e.views.start(deployment.ArchiveView, archive.New(e.postgres.DB, deployment.ArchiveView), projections.NewProgress(e.journal.Partitions()),
		projections.Batching{Threshold: 1000, Interval: 250 * time.Millisecond, Max: 4000}); err != nil {
		return err
	}
	return e.views.startDurable(m.durable, m.durableProgress, projections.Batching{
		Threshold: e.cfg.FlushThreshold, Interval: e.cfg.FlushInterval, Busy: min(e.cfg.FlushInterval, busyFlush), Max: 4000,
	}, feeds.NewNotifications(e.streams.Streams, e.journal.history, durable.NewPosition(e.postgres.DB, "durable")))
}

// keepUnfinished keeps the rows of open sessions and unfinished tasks in their buckets.
func (e *Engine) keepUnfinished(ctx context.Context) {
	failed := false
	for wait.Sleep(ctx, e.model.hot.UnfinishedInterval()) == nil {
		err := e.model.hot.KeepUnfinished(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			e.log.Warn("rows of open sessions and unfinished tasks cannot be kept in KV, retrying", "error", err)
		}
		failed = err != nil
	}
}

// changed takes what an event has made of a document.
func (e *Engine) changed(kind, id string, state []byte, revision uint64) {
	e.commands.changed(kind, id, state, revision)
	e.views.declared.Changed(kind, id, state, revision)
}

// streams are the streams that the engine publishes to. They have a connection
// of their own, so that appends and views do not wait behind it.
type streams struct{ *feeds.Streams }

func openStreams(nats *servers.NATS) (*streams, error) {
	nc, err := nats.Connect("feeds")
	if err != nil {
		return nil, err
	}
	s, err := feeds.NewStreams(nc, nats.Subjects, nats.Embedded != nil, nats.Log)
	return &streams{s}, err
}
