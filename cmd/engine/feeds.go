package main

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/messages"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/infra/pg/outbox"
	"github.com/tidemark-engine/tidemark/projections"
)

// openFeeds opens the way to the seed's streams: a connection of their own, so
// that neither appends nor views wait behind what they publish.
func (e *engine) openFeeds() error {
	nc, err := e.connect("feeds")
	if err != nil {
		return err
	}
	e.streams, err = feeds.NewStreams(nc, natsio.NewSubjects(e.cfg.SubjectPrefix), e.nats != nil, e.log)
	return err
}

// startFeeds runs the views feeds and messages.
func (e *engine) startFeeds() error {
	err := e.run("feeds", feeds.New(e.streams, e.journal), projections.NewProgress(e.journal.Partitions()),
		projections.Batching{Threshold: 1000, Pace: 25 * time.Millisecond, Max: 2000})
	if err != nil || e.db == nil {
		return err
	}
	messages := messages.NewView(e.streams, durable.NewMessages(e.db))
	e.extra = append(e.extra, messages.Status)
	stop := inBackground(messages.Run)
	e.onStop(func(ctx context.Context) {
		e.drain(ctx, messages)
		stop()
	})
	return nil
}

// drain stores what is still on AGENT_MESSAGES before a clean stop: the
// embedded server keeps it in memory alone.
func (e *engine) drain(ctx context.Context, messages *messages.View) {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for e.nats != nil {
		if s := messages.Status(true); s.LagEvents == 0 || s.State != projections.Running {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// startRelay relays agents.outbox. It is stopped before the handler is.
func (e *engine) startRelay() {
	if e.db == nil {
		return
	}
	relay := &outbox.Outbox{DB: e.db, Prefix: natsio.NewSubjects(e.cfg.SubjectPrefix).Root(""), Handle: e.handler.Handle, Log: e.log}
	stop := inBackground(relay.Run)
	e.onStop(func(context.Context) { stop() })
}

// inBackground runs f until stop is called, which waits for its end.
func inBackground(f func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}
