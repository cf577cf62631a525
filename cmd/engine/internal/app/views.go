package app

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/telemetry"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/trace"
	"github.com/tidemark-engine/tidemark/projections"
)

// views runs the views. On an embedded server this engine is alone and runs all
// of them. On an external server each view and partition runs in the engine that
// holds its lease; the others receive its progress.
type views struct {
	journal    *journalReader
	quarantine *quarantineStore
	metrics    *telemetry.Metrics
	tracer     *trace.Tracer // nil = tracing is off
	log        *slog.Logger

	ctx        context.Context // of all runners
	cancel     context.CancelFunc
	running    sync.WaitGroup
	mu         sync.Mutex
	round      *round               // of the runners
	restarting sync.Mutex           // one restart at a time; locked before mu
	blocked    func() error         // why no view can reach the head now; it returns nil when unknown
	leases     *coordination.Leases // nil = embedded server
	broadcast  *coordination.ProgressBroadcast

	runners  []*projections.Runner            // as the status lists them
	progress map[string]*projections.Progress // by view
	restarts map[string][]chan<- string       // by view: the runners' Restart
	declared *declaredViews                   // nil without SQL

	began time.Time
	lagMu sync.Mutex
	lags  map[place]*projections.Lag
}

// place is one partition of a view.
type place struct {
	view      string
	partition int
}

func newViews(ctx context.Context, e *Engine) (*views, error) {
	v := &views{
		began: time.Now(), journal: e.journal, quarantine: e.quarantine, metrics: e.metrics, tracer: e.tracer, log: e.log,
		progress: map[string]*projections.Progress{}, lags: map[place]*projections.Lag{}, restarts: map[string][]chan<- string{},
	}
	if e.nats.Embedded == nil {
		nc, err := e.nats.Connect("leases")
		if err != nil {
			return nil, err
		}
		if v.leases, err = coordination.OpenLeases(ctx, nc, e.log); err != nil {
			return nil, err
		}
		v.broadcast = coordination.NewProgressBroadcast(nc, e.nats.Subjects)
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.round = newRound()
	return v, nil
}

// start runs a view in every partition, in one engine at a time.
func (v *views) start(view string, target projections.Target, progress *projections.Progress, b projections.Batching) error {
	runners, err := v.add(view, target, progress, b)
	for _, r := range runners {
		v.run(view, r)
	}
	return err
}

// startDurable runs the durable view and, in the same engine, the view
// notifications behind it.
func (v *views) startDurable(target *durable.View, progress *projections.Progress, b projections.Batching, n *feeds.Notifications) error {
	front, err := v.add("durable", target, progress, b)
	if err != nil {
		return err
	}
	behind, err := v.add(durable.Notifications, n, projections.NewProgress(len(front)), projections.Batching{Busy: busyFlush, Max: 4000})
	if err != nil {
		return err
	}
	gate := projections.NewGate("durable", len(front), n)
	for p, r := range front {
		r.Leads, behind[p].Follows = gate, gate
		v.run("durable", r, behind[p])
	}
	return nil
}

// add makes the runners of a view, one for each partition.
func (v *views) add(view string, target projections.Target, progress *projections.Progress, b projections.Batching) ([]*projections.Runner, error) {
	v.progress[view] = progress
	if _, err := v.follow(view, progress); err != nil {
		return nil, err
	}
	all := make([]*projections.Runner, v.journal.Partitions())
	for p := range all {
		r := v.runner(view, p, target, progress, b)
		r.Lossy = view == "hot"
		restart := make(chan string, 1)
		r.Restart, v.restarts[view] = restart, append(v.restarts[view], restart)
		r.Quarantine, r.ReadStream = v.quarantine.Store, v.journal.history.Of
		v.runners = append(v.runners, r)
		all[p] = r
	}
	return all, nil
}

// inNATS are the views whose rows are in NATS; those of all others are in SQL.
var inNATS = []string{"feeds", feeds.MessagesView, "hot"}

// follow takes the progress of a view in other engines until stop is called.
func (v *views) follow(view string, progress *projections.Progress) (stop func(), err error) {
	switch {
	case v.broadcast == nil:
		return func() {}, nil
	case slices.Contains(inNATS, view):
		return v.broadcast.Follow(view, progress)
	}
	return v.broadcast.FollowRows(view, progress)
}

// run runs the runners of one partition while this engine holds the lease of the
// view there.
func (v *views) run(view string, runners ...*projections.Runner) {
	v.running.Go(func() { v.hold(v.ctx, view, runners...) })
}

// hold is run until ctx ends.
func (v *views) hold(ctx context.Context, view string, runners ...*projections.Runner) {
	standby := func() {
		for _, r := range runners {
			r.Standby()
		}
	}
	if v.leases == nil {
		v.runAll(ctx, runners)
		return
	}
	standby()
	v.leases.Hold(ctx, view+"."+strconv.Itoa(runners[0].Partition), func(ctx context.Context) {
		v.runAll(ctx, runners)
		standby()
	})
}

// startLocal runs a view in this engine whatever others do.
func (v *views) startLocal(view string, target projections.Target, progress *projections.Progress, b projections.Batching) {
	for p := range v.journal.Partitions() {
		r := v.runner(view, p, target, progress, b)
		v.running.Go(func() {
			for v.ctx.Err() == nil {
				v.runRound(v.ctx, []*projections.Runner{r})
			}
		})
	}
}

func (v *views) runner(view string, p int, target projections.Target, progress *projections.Progress, b projections.Batching) *projections.Runner {
	return &projections.Runner{
		View: view, Partition: p, Source: v.journal.source(view), Target: target, Batching: b,
		Progress: progress, Log: v.log, Applied: v.metrics.Applied(view), Why: servers.Reason, Trace: v.tracer,
	}
}

// rebuilding marks a view in the status.
func (v *views) rebuilding(view string, on bool) {
	for _, r := range v.runners {
		if r.View == view {
			r.Rebuilding(on)
		}
	}
}

// names are the views, each once, as the status lists them.
func (v *views) names() (names []string) {
	for _, r := range v.runners {
		if !slices.Contains(names, r.View) {
			names = append(names, r.View)
		}
	}
	return names
}

// status is the state of every view; heads nil = unknown.
func (v *views) status(heads []uint64) []projections.Status {
	all := make([]projections.Status, 0, len(v.runners))
	now := time.Now()
	for _, r := range slices.Concat(v.runners, v.declared.runners()) {
		head := uint64(0)
		if heads != nil {
			head = heads[r.Partition]
		}
		all = append(all, r.Status(head, now))
	}
	if heads == nil {
		return all
	}
	v.lagMu.Lock()
	defer v.lagMu.Unlock()
	for i := range all {
		p := place{all[i].Name, all[i].Partition}
		if v.lags[p] == nil {
			v.lags[p] = &projections.Lag{Since: v.began}
		}
		v.lags[p].Add(&all[i], now)
	}
	return all
}

// flushTimeout bounds how long a clean stop waits for views to reach the head. A
// view whose store is unavailable catches up after the next start.
const flushTimeout = 5 * time.Second

// stop lets the views reach the head and ends them.
func (v *views) stop(ctx context.Context) {
	if v.blocked != nil && v.blocked() != nil {
		v.log.Warn("the views do not wait for the head; they catch up after the next start", "reason", v.blocked())
		done, cancel := context.WithCancel(ctx)
		cancel()
		ctx = done
	}
	v.flush(ctx)
	v.cancel()
	v.running.Wait()
}

func (v *views) flush(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	for p := range v.journal.Partitions() {
		head, err := v.journal.Head(ctx, p)
		if err != nil {
			v.log.Warn("cannot read the head of the journal; the views catch up after the next start", "error", err)
			return
		}
		for view, progress := range v.progress {
			if !progress.Wait(ctx, p, head) {
				v.log.Warn("a view did not reach the head; it catches up after the next start",
					"view", view, "partition", p, "position", progress.At(p), "head", head)
			}
		}
	}
}
