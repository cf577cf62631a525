package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// engine is one running process: servers, connections, the command side, the
// views and the service, in the order they are started. close undoes it from
// the end.
type engine struct {
	cfg      *serveCmd
	log      *slog.Logger
	started  time.Time
	nats     *embedded.Server // nil = external
	natsURL  string
	pgLocal  *local.Server // nil = external or off
	pgURL    string        // what status tells; "" = off
	db       *pg.DB        // nil = off
	conns    []*nats.Conn
	journal  *natsio.Journal
	bucket   *natsio.Bucket            // of state entries
	docs     map[string]*natsio.Bucket // by kind of document
	handler  *commands.Handler
	tiers    *readmodel.Tiers
	service  *natsio.Service
	http     *httpServer
	metrics  *metrics
	views    []*projections.Runner // those that status shows
	progress map[string]*projections.Progress
	stops    []func(context.Context)
}

// startEngine brings everything up in order; on an error what had started is
// stopped again.
func startEngine(ctx context.Context, cfg *serveCmd, log *slog.Logger) (_ *engine, err error) {
	e := &engine{cfg: cfg, log: log, started: time.Now(), metrics: newMetrics(), progress: map[string]*projections.Progress{}}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	bounds, err := cfg.bounds()
	if err != nil {
		return nil, err
	}
	lock, err := lockData(cfg.Data)
	if err != nil {
		return nil, err
	}
	e.onStop(func(context.Context) { lock.Close() })
	if err = e.startServers(ctx); err != nil {
		return nil, err
	}
	if err = e.openStores(ctx); err != nil {
		return nil, err
	}
	e.startViews(bounds)
	if err = e.serve(); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *engine) onStop(f func(context.Context)) { e.stops = append(e.stops, f) }

// stopTime bounds a clean stop; every step of it is bounded by this whole.
const stopTime = 25 * time.Second

// close stops in the reverse order of the start.
func (e *engine) close() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	for i := len(e.stops) - 1; i >= 0; i-- {
		e.stops[i](ctx)
	}
	e.stops = nil
}

// startServers brings up NATS and Postgres side by side.
func (e *engine) startServers(ctx context.Context) error {
	var wg sync.WaitGroup
	var pgErr error
	if e.cfg.Postgres == "" {
		wg.Add(1)
		go func() {
			defer wg.Done()
			e.pgLocal, pgErr = local.Start(ctx, local.Config{Dir: filepath.Join(e.cfg.Data, "postgres"), Log: e.log})
		}()
	}
	natsErr := e.startNATS()
	wg.Wait()
	if e.pgLocal != nil {
		e.pgURL = e.pgLocal.URL()
		e.onStop(func(ctx context.Context) {
			if err := e.pgLocal.Stop(ctx); err != nil {
				e.log.Error("Postgres did not stop cleanly", "error", err)
			}
		})
	}
	if natsErr != nil {
		return natsErr
	}
	if pgErr != nil {
		return fmt.Errorf("%w\n(--postgres URL takes an external one, --postgres off goes without SQL)", pgErr)
	}
	return nil
}

func (e *engine) startNATS() error {
	if e.cfg.NATS != "" {
		e.natsURL = e.cfg.NATS
		return nil
	}
	root := natsio.NewSubjects(e.cfg.SubjectPrefix)
	streams := []string{"EVENTS"}
	for p := range 64 {
		streams = append(streams, natsio.StreamName(p, 64))
	}
	s, err := embedded.Start(embedded.Config{
		Dir: e.cfg.Data, Listen: e.cfg.NATSListen, Synced: e.cfg.Durability == "synced",
		Private: []string{root.Root("events."), root.Root("journal.")}, Streams: streams, Log: e.log,
	})
	if err != nil {
		return err
	}
	e.nats, e.natsURL = s, s.URL()
	e.onStop(func(context.Context) { s.Stop() })
	return nil
}

// connect opens one of the engine's connections: appends, views and requests
// each have their own, so that none waits behind another's bytes.
func (e *engine) connect(name string) (*nats.Conn, error) {
	var opts []nats.Option
	url := e.natsURL
	if e.nats != nil {
		opts = e.nats.Options()
	}
	nc, err := natsio.Connect(url, "tidemark-"+name, e.log, opts...)
	if err != nil {
		return nil, err
	}
	e.conns = append(e.conns, nc)
	e.onStop(func(context.Context) { nc.Close() })
	return nc, nil
}

// openStores opens the journal, the bucket and the database.
func (e *engine) openStores(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	appends, err := e.connect("journal")
	if err != nil {
		return err
	}
	e.journal, err = natsio.OpenJournal(ctx, appends, natsio.JournalConfig{
		Subjects: natsio.NewSubjects(e.cfg.SubjectPrefix), Partitions: e.cfg.Partitions,
	})
	if err != nil {
		return err
	}
	views, err := e.connect("views")
	if err != nil {
		return err
	}
	open := func(cfg natsio.BucketConfig) (*natsio.Bucket, error) {
		cfg.Embedded = e.nats != nil
		return natsio.OpenBucket(ctx, views, cfg, e.log)
	}
	if e.bucket, err = open(natsio.AgentStateBucket); err != nil {
		return err
	}
	e.docs = map[string]*natsio.Bucket{}
	for kind, cfg := range docBuckets {
		if e.docs[kind], err = open(cfg); err != nil {
			return err
		}
	}
	return e.openSQL()
}

// docBuckets are where documents are hot. A lifecycle has no bucket in the seed.
var docBuckets = map[string]natsio.BucketConfig{
	readmodel.KindTask:    natsio.TaskStateBucket,
	readmodel.KindSession: natsio.SessionDataBucket,
	readmodel.KindConfig:  natsio.AgentConfigBucket,
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

// startViews wires the command side and starts the runners.
func (e *engine) startViews(bounds commands.Bounds) {
	n := e.journal.Partitions()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(view string, target projections.Target, progress *projections.Progress, b projections.Batching) {
		for p := range n {
			r := &projections.Runner{
				View: view, Partition: p, Source: e.journal, Target: target, Batching: b,
				Progress: progress, Log: e.log, Applied: e.metrics.applied(view),
			}
			if view != "memory" {
				e.views = append(e.views, r)
				e.progress[view] = progress
			}
			running.Add(1)
			go func() {
				defer running.Done()
				r.Run(ctx)
			}()
		}
	}
	tail, hot, durable := projections.NewProgress(n), projections.NewProgress(n), projections.NewProgress(n)
	memory := readmodel.NewMemory(readmodel.MemoryConfig{Partitions: n, Tail: tail})
	e.handler = commands.NewHandler(e.journal, commands.Config{
		Bounds: bounds, InFlight: e.cfg.LimitsInFlight,
		Observe: func(rec events.Record) { passOn(memory, &rec) },
	})
	hotTarget := natsio.NewHot(e.bucket, e.journal, hot)
	for kind, b := range e.docs {
		hotTarget.Keep(kind, b)
	}
	e.tiers = &readmodel.Tiers{
		Memory: memory, Hot: hotTarget, HotProgress: hot, DurableProgress: durable,
		Past: natsio.Past{Journal: e.journal}, Hit: e.metrics.hit,
	}
	run("memory", &projections.Tail{Memory: memory, Refresh: e.handler.Refresh, Source: e.journal, Progress: tail}, tail,
		projections.Batching{Max: 1000})
	run("hot", hotTarget, hot, projections.Batching{Max: 2000})
	if e.db != nil {
		t := pg.NewDurable(e.db, "durable")
		e.tiers.Durable = t
		run("durable", t, durable, projections.Batching{Threshold: e.cfg.FlushThreshold, Interval: e.cfg.FlushInterval, Max: 4000})
	}
	e.onStop(func(ctx context.Context) {
		e.flushViews(ctx)
		cancel()
		running.Wait()
	})
}

// passOn writes an own event through to memory before its command is answered,
// so that the writer's next read here sees it.
func passOn(memory *readmodel.Memory, rec *events.Record) {
	if rec.Type != events.StateSet && rec.Type != events.StateDeleted {
		return
	}
	if change, err := projections.EntryOf(rec); err == nil {
		memory.Pass(rec.Partition, change.Entry, change.Deleted)
	}
}

// flushTime bounds how long a clean stop waits for views to reach the head; a
// view whose store is away catches up at the next start.
const flushTime = 5 * time.Second

func (e *engine) flushViews(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	for p := range e.journal.Partitions() {
		head, err := e.journal.Head(ctx, p)
		if err != nil {
			e.log.Warn("the journal's head cannot be read; views catch up at the next start", "error", err)
			return
		}
		for view, progress := range e.progress {
			if !progress.Wait(ctx, p, head) {
				e.log.Warn("a view has not reached the head; it catches up at the next start",
					"view", view, "partition", p, "position", progress.At(p), "head", head)
			}
		}
	}
}

// serve opens the doors: requests and HTTP.
func (e *engine) serve() error {
	requests, err := e.connect("requests")
	if err != nil {
		return err
	}
	questions := &readmodel.Questions{Tiers: e.tiers, Status: e.statusJSON}
	e.onStop(func(context.Context) { e.handler.Close() })
	e.service, err = natsio.Serve(requests, natsio.ServiceConfig{
		Subjects: natsio.NewSubjects(e.cfg.SubjectPrefix), Version: semver(version),
		Commands: e.handler.Handle, Batch: e.handler.HandleBatch, Queries: questions.Ask,
		Observe: e.metrics.answered, Replies: e.cfg.ReplyPrefixes, Log: e.log,
	})
	if err != nil {
		return err
	}
	e.onStop(func(context.Context) {
		if err := e.service.Stop(); err != nil {
			e.log.Warn("the service did not stop cleanly", "error", err)
		}
	})
	if e.http, err = startHTTP(e); err != nil {
		return err
	}
	e.onStop(e.http.stop)
	n := note{PID: os.Getpid(), NATS: e.natsURL, HTTP: e.http.url(), Prefix: e.cfg.SubjectPrefix}
	if err := n.write(e.cfg.Data); err != nil {
		return err
	}
	e.onStop(func(context.Context) {
		if err := os.Remove(notePath(e.cfg.Data)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.log.Warn("the note in the data directory stays behind", "error", err)
		}
	})
	return nil
}
