package main

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// openStores opens the journal, the bucket and the database.
func (e *engine) openStores(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	appends, err := e.connect("journal")
	if err != nil {
		return err
	}
	e.journal, err = journal.Open(ctx, appends, journal.Config{
		Subjects: natsio.NewSubjects(e.cfg.SubjectPrefix), Partitions: e.cfg.Partitions,
	})
	if err != nil {
		return err
	}
	e.shared = journal.NewShared(e.journal)
	views, err := e.connect("views")
	if err != nil {
		return err
	}
	if err = e.applyTopology(ctx, views); err != nil {
		return err
	}
	open := func(cfg hot.BucketConfig) (*hot.Bucket, error) {
		cfg.Embedded = e.nats != nil
		return hot.OpenBucket(ctx, views, cfg, e.log)
	}
	if e.bucket, err = open(hot.AgentStateBucket); err != nil {
		return err
	}
	e.docs = map[string]*hot.Bucket{}
	for kind, cfg := range docBuckets {
		if e.docs[kind], err = open(cfg); err != nil {
			return err
		}
	}
	if e.cache, err = hot.OpenQueryCache(ctx, views, e.log); err != nil {
		return err
	}
	return e.openSQL()
}

// docBuckets are where documents are hot. A lifecycle has no bucket in the seed.
var docBuckets = map[string]hot.BucketConfig{
	readmodel.KindTask:    hot.TaskStateBucket,
	readmodel.KindSession: hot.SessionDataBucket,
	readmodel.KindConfig:  hot.AgentConfigBucket,
}

// openSQL opens the pool and migrates; where Postgres is away that goes on in
// the background, for commands and hot reads do not need it.
func (e *engine) openSQL() error {
	url := e.cfg.Postgres
	switch {
	case e.pgLocal != nil:
		url = e.pgLocal.SocketURL()
	case url == "off":
		return nil
	default:
		e.pgURL = redacted(url)
	}
	var err error
	if e.db, err = pg.Open(url); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	first := make(chan struct{})
	go func() {
		defer close(done)
		e.migrate(ctx, first)
	}()
	e.onStop(func(context.Context) {
		cancel()
		<-done
		e.db.Close()
	})
	<-first
	return nil
}

// migrate tries until the schema is there; first is closed after one attempt.
func (e *engine) migrate(ctx context.Context, first chan struct{}) {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = 5 * time.Second
	for attempt := 0; ctx.Err() == nil; attempt++ {
		actx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := e.db.Migrate(actx, e.log)
		cancel()
		if attempt == 0 {
			close(first)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		if attempt == 0 {
			e.log.Warn("Postgres is not ready; the durable view waits for it, commands and hot reads do not", "error", err)
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
		}
	}
}
