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
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/infra/natsio/service"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
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
	journal  *journal.Journal
	shared   *journal.Shared        // the journal as the views read it
	bucket   *hot.Bucket            // of state entries
	docs     map[string]*hot.Bucket // by kind of document
	cache    *hot.QueryCache
	handler  *commands.Handler
	tiers    *tiers.Tiers
	keeper   *tiers.Hydrator
	activity *reactors.Activity
	timers   *coordination.Timers
	service  *service.Service
	intake   atomic.Pointer[intake.Intake]
	serving  atomic.Bool              // the service is offered
	known    atomic.Pointer[[]uint64] // the journal's heads when they were last read
	http     *httpServer
	metrics  *metrics
	hot      *hot.Hot
	audit    atomic.Pointer[verify.Auditor]
	crew     *crew
	holds    *natsquarantine.Store // what the views leave out
	topology *topologyWatch
	views    []*projections.Runner                // those that status shows
	extra    []func(look bool) projections.Status // views that are no fold of the journal
	streams  *feeds.Streams
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
	if err = e.startViews(ctx, bounds); err != nil {
		return nil, err
	}
	if err = e.startUpgrades(); err != nil {
		return nil, err
	}
	e.startAudit()
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
	s, err := startEmbedded(e.cfg.Data, e.cfg.NATSListen, e.cfg.SubjectPrefix, e.cfg.Durability == "synced", e.log)
	if err != nil {
		return err
	}
	e.nats, e.natsURL = s, s.URL()
	e.onStop(func(context.Context) { s.Stop() })
	return nil
}

// startEmbedded runs the embedded server on a data directory.
func startEmbedded(data, listen, prefix string, synced bool, log *slog.Logger) (*embedded.Server, error) {
	streams := []string{"EVENTS", "KV_" + natsquarantine.QuarantineBucket}
	for p := range 64 {
		streams = append(streams, natsio.StreamName(p, 64))
	}
	return embedded.Start(embedded.Config{
		Dir: data, Listen: listen, Synced: synced, Private: private(natsio.NewSubjects(prefix)), Streams: streams, Log: log,
	})
}

// private are the roots that only the engine publishes on.
func private(root natsio.Subjects) []string {
	return []string{
		root.Root("events."), natsquarantine.QuarantineRoot, natsio.IntakeRoot, root.Root("outcomes."), root.Root("timers."), root.Root("engines."),
	}
}

// connect opens one of the engine's connections: the journal, the views' writes
// and requests each have their own, so that none waits behind another's bytes.
// The journal's readers share that of its appends: one of their own was no clear
// gain (ADR 10).
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

// serve opens the doors: requests and HTTP.
func (e *engine) serve() error {
	requests, err := e.connect("requests")
	if err != nil {
		return err
	}
	e.onStop(func(context.Context) { e.handler.Close() })
	e.startRelay()
	if err := e.startTime(); err != nil {
		return err
	}
	if err := startIntake(e); err != nil {
		return err
	}
	if e.http, err = startHTTP(e); err != nil {
		return err
	}
	e.onStop(e.http.stop)
	questions := &query.Query{Tiers: e.tiers, Cache: e.cache, Status: e.statusJSON, LastSeen: e.lastSeen, Command: e.outcome}
	e.service, err = service.Serve(requests, service.Config{
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
	e.serving.Store(true)
	n := note{PID: os.Getpid(), NATS: e.natsURL, HTTP: e.http.url(), Prefix: e.cfg.SubjectPrefix}
	if err := n.write(e.cfg.Data); err != nil {
		return err
	}
	e.onStop(func(context.Context) { e.remove(notePath(e.cfg.Data)) })
	if e.nats == nil {
		return nil
	}
	var o operator
	o.User, o.Password = e.nats.Credentials()
	e.onStop(func(context.Context) { e.remove(operatorPath(e.cfg.Data)) })
	return o.write(e.cfg.Data)
}

// remove takes away what serve noted in the data directory.
func (e *engine) remove(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.log.Warn("a note in the data directory stays behind", "error", err)
	}
}
