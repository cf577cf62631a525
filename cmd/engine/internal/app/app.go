// Package app is the running engine: its configuration and its components,
// which Start assembles from the domain, the adapters and the servers. It holds
// no rule of the domain and no storage of its own.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/httpserver"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/mcp"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/operations"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/resources"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/telemetry"
	"github.com/tidemark-engine/tidemark/infra/natsio/keystore"
	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/internal/trace"
	"github.com/tidemark-engine/tidemark/projections"
)

// Engine is one running engine. Its components are listed in the order in which
// they start.
type Engine struct {
	cfg     *settings.Config
	version string
	log     *slog.Logger
	started time.Time
	stops   lifecycle.Stops
	memory  *resources.Memory
	limits  resources.Limits

	readiness *readiness.Readiness // what every component says of itself
	certs     *certs.Certificates  // nil = without TLS

	nats       *servers.NATS
	postgres   *servers.Postgres
	keys       *keys.Ring // nil = content is not encrypted
	keyStore   *keystore.Store
	journal    *journalReader
	guard      *guard
	topology   *topologyCheck
	buckets    *buckets
	quarantine *quarantineStore
	purges     purges
	streams    *streams
	authority  *authority
	views      *views
	model      *readModel
	commands   *commandSide
	eraser     *eraser // nil = content is not encrypted
	audit      *audit
	clock      *clock
	intake     *intakeQueue
	reconciler *reconciler
	http       *httpserver.Server
	console    *console.Console
	mcp        atomic.Pointer[mcp.HTTP]
	sampler    *telemetry.Sampler
	operations *operations.Operations
	metrics    *telemetry.Metrics
	tracer     *trace.Tracer // nil = tracing is off
	service    *queryService
	health     *health
	assembled  atomic.Bool // the components above are there
}

// Start assembles the engine. Every component starts after those it uses, and
// Stop stops them in the reverse order. After an error, what had started is
// stopped.
func Start(ctx context.Context, cfg *settings.Config, version string, log *slog.Logger) (_ *Engine, err error) {
	e := &Engine{cfg: cfg, version: version, log: log, started: time.Now(), metrics: telemetry.New(), readiness: readiness.New()}
	defer func() {
		if err != nil {
			e.Stop()
		}
	}()
	if err = e.prepare(ctx); err != nil {
		return nil, err
	}
	for _, step := range [...]struct {
		name string
		do   func(context.Context) error
	}{
		{"the HTTP server", e.serveHTTP},
		{"the NATS server and Postgres: what they stored is read", e.startServers},
		{"the journal and the stores are opened", e.open},
		{"the views", e.startModel},
		{"what sends commands", e.startSenders},
	} {
		e.starting(step.name)
		if err = step.do(ctx); err != nil {
			return nil, err
		}
	}
	e.operations.Start(e.operated())
	e.assembled.Store(true)
	e.stops.Add(e.operations.Stop)
	e.stops.Add(func(context.Context) { e.console.Close() }) // its sessions are clients
	e.readiness.Set("engine", readiness.OK, "")

	e.stops.Add(e.removeNotes)
	return e, e.writeNotes()
}

// prepare checks the configuration and takes the data directory.
func (e *Engine) prepare(ctx context.Context) error {
	if err := e.cfg.Check(); err != nil {
		return err
	}
	planned, bound, err := e.cfg.MemoryPlan()
	if err != nil {
		return err
	}
	e.limits = resources.NewLimits(planned, bound, e.cfg.LimitsRate)

	var stop func(context.Context)
	e.memory, stop = resources.NewMemory()
	e.stops.Add(stop)
	e.tracer, stop = telemetry.StartTracing(ctx, e.version, e.log)
	e.stops.Add(stop)

	unlock, err := deployment.Lock(e.cfg.Data)
	if err != nil {
		return err
	}
	e.stops.Add(func(context.Context) { _ = unlock() }) // the lock ends with the process in any case
	if err := deployment.RememberSchema(e.cfg.Data, e.cfg.Schema()); err != nil {
		return err
	}
	return e.cfg.UseMasterKey(e.log)
}

func (e *Engine) startServers(ctx context.Context) (err error) {
	e.nats, e.postgres, err = servers.Start(ctx, e.cfg, e.limits.Server(), e.natsTLS(), &e.stops, e.log)
	return err
}

// open opens the stores, and who may use them: journal, buckets, SQL, quarantine, streams
// and principals.
func (e *Engine) open(ctx context.Context) (err error) {
	if err = e.openStores(ctx); err != nil {
		return err
	}
	if e.quarantine, err = openQuarantine(ctx, e.nats); err != nil {
		return err
	}
	e.stops.Add(e.quarantine.stop)
	if e.streams, err = openStreams(e.nats); err != nil {
		return err
	}
	return e.openAuthority(ctx)
}

// startModel starts the read model, the commands, and the views that fold the events of
// both, with the background work on them.
func (e *Engine) startModel(ctx context.Context) (err error) {
	bounds, err := e.cfg.Bounds()
	if err != nil {
		return err
	}
	if e.views, err = newViews(ctx, e); err != nil {
		return err
	}
	e.stops.Add(e.views.stop)
	e.commands = newCommandSide(e.cfg, e.buckets, e.log)
	e.model = newReadModel(e)
	e.eraser = e.newEraser()
	if err = e.commands.open(e, bounds); err != nil {
		return err
	}
	if err = e.startViews(); err != nil {
		return err
	}
	if e.views.declared != nil {
		e.authority.viewed, e.views.declared.replaced = e.views.declared.shown, e.authority.changed
		e.stops.Add(e.views.declared.start())
	}
	e.guard.start()
	e.startDiskWatch()
	if err = e.startUpgrades(); err != nil {
		return err
	}
	e.stops.Add(e.watchArchive())
	e.audit = startAudit(e)
	e.stops.Add(e.audit.stop)
	return nil
}

// startSenders starts what sends commands: the outbox, timers, the queue, reactors and
// clients.
func (e *Engine) startSenders(context.Context) (err error) {
	requests, err := e.nats.Connect(servers.RequestsConnection)
	if err != nil {
		return err
	}
	queries, err := e.nats.Connect(servers.QueriesConnection)
	if err != nil {
		return err
	}
	e.stops.Add(func(context.Context) { e.commands.handler.Close() })
	if e.postgres.DB != nil {
		e.stops.Add(startIndexes(e.log, "search", func(ctx context.Context) ([]string, bool, error) {
			return e.model.durable.IndexSearch(ctx, e.cfg.Search.Of())
		}))
		e.stops.Add(startKeyRetention(e))
		e.stops.Add(startRetention(e.postgres.DB, e.cfg, e.log))
		e.stops.Add(startOutbox(e))
		e.stops.Add(lifecycle.InBackground(copyAudit(e.postgres.DB, e.authority.store.Audit, e.log)))
	}
	if e.clock, err = startClock(e.nats, e.journal, e.commands, e.model, e.metrics.Fired, e.limits.Rates.Take); err != nil {
		return err
	}
	e.stops.Add(e.clock.stop)
	e.purges.add(e.clock.timers.Purged)
	if e.intake, err = startIntake(e, e.clock.reactors); err != nil {
		return err
	}
	e.stops.Add(e.intake.stop)
	e.purges.add(e.intake.Purged)
	e.reconciler = startReconciler(e)
	e.stops.Add(e.reconciler.stop)
	if e.nats.Embedded != nil {
		if err = e.nats.Embedded.SyncMeta(); err != nil { // a power cut must not lose a stream with acknowledged commands
			return fmt.Errorf("sync the streams of the embedded NATS server: %w", err)
		}
	}
	if err = e.startGate(); err != nil {
		return err
	}
	if e.eraser != nil {
		e.stops.Add(e.eraser.start())
	}
	if e.service, err = startService(e, requests, queries); err != nil {
		return err
	}
	e.stops.Add(e.service.stop)
	e.watchAccounts()
	e.startMCP()
	e.health = startHealth(e)
	e.stops.Add(e.health.stop)
	e.sampler = telemetry.NewSampler(e.metrics,
		func() uint64 { return uint64(max(0, e.commands.handler.Stats().Appends.Load())) }, //nolint:gosec // not negative
		func() []projections.Status { return e.views.status(e.journal.lastHeads()) }, e.audit.status)
	e.stops.Add(lifecycle.InBackground(e.sampler.Run))
	return nil
}

// starting says what the start does next, until it is done.
func (e *Engine) starting(step string) {
	// gofail: var starting struct{}
	e.readiness.Set("engine", readiness.NotReady, "starting: "+step)
}

// stopTimeout bounds a stop as a whole, without that of the engine's own servers.
const stopTimeout = 6 * time.Second

// Stop answers the commands that were taken, lets the views catch up, and stops
// all components. A store that does not answer holds it up for stopTimeout at most.
func (e *Engine) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	e.readiness.Set("engine", readiness.NotReady, "stopping")
	e.stops.Run(ctx)
}
