package app

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/messages"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
)

// views runs the views. On an embedded server this engine is alone and runs all
// of them. On an external server each view and partition runs in the engine that
// holds its lease; the others receive its progress.
type views struct {
	journal    *journalReader
	quarantine *quarantineStore
	metrics    *metrics
	log        *slog.Logger

	ctx       context.Context // of all runners
	cancel    context.CancelFunc
	running   sync.WaitGroup
	leases    *coordination.Leases // nil = embedded server
	broadcast *coordination.ProgressBroadcast

	runners       []*projections.Runner            // as the status lists them
	progress      map[string]*projections.Progress // by view
	messages      *messages.View                   // nil without SQL; it folds AGENT_MESSAGES, not the journal
	stopMessages  func(context.Context)
	memoryStreams bool // the server keeps AGENT_MESSAGES in memory
}

func newViews(ctx context.Context, nats *natsServer, j *journalReader, q *quarantineStore, m *metrics, log *slog.Logger) (*views, error) {
	v := &views{journal: j, quarantine: q, metrics: m, log: log, progress: map[string]*projections.Progress{}}
	if nats.embedded == nil {
		nc, err := nats.connect("leases")
		if err != nil {
			return nil, err
		}
		if v.leases, err = coordination.OpenLeases(ctx, nc, log); err != nil {
			return nil, err
		}
		v.broadcast = coordination.NewProgressBroadcast(nc, nats.subjects)
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
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
	if v.broadcast != nil {
		if err := v.broadcast.Follow(view, progress); err != nil {
			return nil, err
		}
	}
	all := make([]*projections.Runner, v.journal.Partitions())
	for p := range all {
		r := v.runner(view, p, target, progress, b)
		r.Lossy = view == "hot"
		r.Quarantine, r.ReadStream = v.quarantine.Store, v.journal.history.Of
		v.runners = append(v.runners, r)
		all[p] = r
	}
	return all, nil
}

// run runs the runners of one partition while this engine holds the lease of the
// view there.
func (v *views) run(view string, runners ...*projections.Runner) {
	standby := func() {
		for _, r := range runners {
			r.Standby()
		}
	}
	v.running.Go(func() {
		if v.leases == nil {
			v.runAll(v.ctx, runners)
			return
		}
		standby()
		v.leases.Hold(v.ctx, view+"."+strconv.Itoa(runners[0].Partition), func(ctx context.Context) {
			v.runAll(ctx, runners)
			standby()
		})
	})
}

// runAll runs runners until ctx ends, and broadcasts their progress.
func (v *views) runAll(ctx context.Context, runners []*projections.Runner) {
	var running sync.WaitGroup
	for _, r := range runners {
		running.Go(func() { r.Run(ctx) })
		if v.broadcast != nil {
			v.running.Go(func() { v.broadcast.Publish(ctx, r.View, r.Partition, r.Progress) })
		}
	}
	running.Wait()
}

// startLocal runs a view in this engine whatever others do.
func (v *views) startLocal(view string, target projections.Target, progress *projections.Progress, b projections.Batching) {
	for p := range v.journal.Partitions() {
		r := v.runner(view, p, target, progress, b)
		v.running.Go(func() { r.Run(v.ctx) })
	}
}

func (v *views) runner(view string, p int, target projections.Target, progress *projections.Progress, b projections.Batching) *projections.Runner {
	return &projections.Runner{
		View: view, Partition: p, Source: v.journal.source(view), Target: target, Batching: b,
		Progress: progress, Log: v.log, Applied: v.metrics.applied(view),
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

// status is the state of every view; heads nil = the journal does not answer.
func (v *views) status(heads []uint64) []projections.Status {
	all := make([]projections.Status, 0, len(v.runners)+1)
	for _, r := range v.runners {
		head := uint64(0)
		if heads != nil {
			head = heads[r.Partition]
		}
		all = append(all, r.Status(head, time.Now()))
	}
	if v.messages != nil {
		all = append(all, v.messages.Status(heads != nil))
	}
	return all
}

// flushTimeout bounds how long a clean stop waits for views to reach the head. A
// view whose store is unavailable catches up after the next start.
const flushTimeout = 5 * time.Second

// stop lets the views reach the head and ends them.
func (v *views) stop(ctx context.Context) {
	if v.messages != nil {
		v.drainMessages(ctx)
		v.stopMessages(ctx)
	}
	v.flush(ctx)
	v.cancel()
	v.running.Wait()
}

func (v *views) flush(ctx context.Context) {
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
