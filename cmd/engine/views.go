package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/natsio/messages"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// crew runs the views' runners. With the embedded server this engine is alone
// and runs them all; on an external one each view runs in the engine that holds
// its lease, and the others hear how far it has come.
type crew struct {
	ctx     context.Context
	running sync.WaitGroup
	leases  *coordination.Leases // nil = alone
	beacon  *coordination.ProgressBroadcast
	settle  func() // waits for what the runners have left under way; nil = nothing
}

func (e *engine) newCrew(ctx context.Context) (*crew, context.CancelFunc, error) {
	c := &crew{}
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithCancel(context.Background())
	if e.nats != nil {
		return c, cancel, nil
	}
	nc, err := e.connect("leases")
	if err == nil {
		c.leases, err = coordination.OpenLeases(ctx, nc, e.log)
		c.beacon = coordination.NewProgressBroadcast(nc, natsio.NewSubjects(e.cfg.SubjectPrefix))
	}
	return c, cancel, err
}

// leaver is a target that works on beside its runner, until it is told that
// another engine has the partition.
type leaver interface{ Leave(partition int) }

// run starts a view in every partition, in one engine at a time.
func (e *engine) run(view string, target projections.Target, progress *projections.Progress, b projections.Batching) error {
	e.progress[view] = progress
	if e.crew.beacon != nil {
		if err := e.crew.beacon.Follow(view, progress); err != nil {
			return err
		}
	}
	for p := range e.journal.Partitions() {
		r := e.runner(view, p, target, progress, b)
		r.Lossy = view == "hot"
		r.Quarantine, r.Past = e.holds, history.Truth{Journal: e.journal, Archive: e.whole().Archive}.Stream
		e.views = append(e.views, r)
		e.crew.running.Add(1)
		go func() {
			defer e.crew.running.Done()
			if e.crew.leases == nil {
				r.Run(e.crew.ctx)
				return
			}
			r.Standby()
			e.crew.leases.Hold(e.crew.ctx, view+"."+strconv.Itoa(p), func(ctx context.Context) {
				e.crew.running.Add(1)
				go func() {
					defer e.crew.running.Done()
					e.crew.beacon.Tell(ctx, view, p, progress)
				}()
				r.Run(ctx)
				if t, ok := target.(leaver); ok && e.crew.ctx.Err() == nil { // a stop has its own end
					t.Leave(p)
				}
				r.Standby()
			})
		}()
	}
	return nil
}

// runHere starts what every engine runs for itself: its tail of the journal.
func (e *engine) runHere(view string, target projections.Target, progress *projections.Progress, b projections.Batching) {
	for p := range e.journal.Partitions() {
		r := e.runner(view, p, target, progress, b)
		e.crew.running.Add(1)
		go func() {
			defer e.crew.running.Done()
			r.Run(e.crew.ctx)
		}()
	}
}

func (e *engine) runner(view string, p int, target projections.Target, progress *projections.Progress, b projections.Batching) *projections.Runner {
	return &projections.Runner{
		View: view, Partition: p, Source: e.source(view), Target: target, Batching: b,
		Progress: progress, Log: e.log, Applied: e.metrics.applied(view),
	}
}

// Where many events come, writing each at once costs more than it tells: then
// so long passes from one write to the next.
const (
	busyHot   = 2 * time.Millisecond
	busyFlush = 20 * time.Millisecond
)

// startViews wires the command side and the tiers, and starts the views.
func (e *engine) startViews(ctx context.Context, bounds commands.Bounds) error {
	if err := e.openQuarantine(ctx); err != nil {
		return err
	}
	if err := e.openFeeds(); err != nil { // its connection outlives the views' last notices
		return err
	}
	crew, cancel, err := e.newCrew(ctx)
	if err != nil {
		return err
	}
	e.crew = crew
	e.onStop(func(ctx context.Context) {
		e.flushViews(ctx)
		cancel()
		crew.running.Wait()
		if crew.settle != nil {
			crew.settle()
		}
	})
	n := e.journal.Partitions()
	tail, hotProgress, durableProgress := projections.NewProgress(n), projections.NewProgress(n), projections.NewProgress(n)
	memory := tiers.NewMemory(tiers.MemoryConfig{Partitions: n, Tail: tail})
	hotTarget := hot.NewHot(e.bucket, e.journal, hotProgress)
	for kind, b := range e.docs {
		hotTarget.Keep(kind, b)
	}
	e.hot = hotTarget
	hotTarget.Leaves = e.leaves("hot")
	past := journal.Past{Journal: e.journal, Archive: e.whole().Archive, Skew: bounds.ClockSkew}
	e.keeper = &tiers.Hydrator{Past: past, Hot: hotTarget, DurableProgress: durableProgress}
	e.activity = e.newActivity()
	e.handler = commands.NewHandler(e.writer(), commands.Config{
		Bounds: bounds, InFlight: e.cfg.LimitsInFlight, Evictor: e.keeper, Messenger: messages.NewMessenger(e.streams), Past: past,
		Archive: e.archiveOfCommands(), Observe: func(rec events.Record) { passOn(memory, &rec) },
	})
	e.tiers = &tiers.Tiers{
		Memory: memory, Hot: hotTarget, HotProgress: hotProgress, DurableProgress: durableProgress,
		Past: past, Hit: e.metrics.hit, Missed: e.touched,
	}
	e.runHere("memory", &projections.Tail{
		Memory: memory, Refresh: e.handler.Refresh, Source: e.journal, Progress: tail,
		Touched: e.touched, Changed: e.activity.Changed,
	}, tail, projections.Batching{Busy: busyHot, Max: 1000})
	if err := e.startFeeds(); err != nil {
		return err
	}
	if err := e.run("hot", hotTarget, hotProgress, projections.Batching{Busy: busyHot, Max: 2000}); err != nil || e.db == nil {
		return err
	}
	t := durable.New(e.db, "durable")
	notifier := feeds.NewNotifier(e.streams, past)
	notifier.Held = func(ctx context.Context, p int) ([]quarantine.Held, error) {
		return projections.LeftOut(ctx, e.holds, t, "durable", p, e.journal.ID())
	}
	t.Notify = notifier
	crew.settle = t.Settle
	if err := e.startArchive(); err != nil {
		return err
	}
	e.tiers.Durable, e.keeper.Durable = t, t
	return e.run("durable", t, durableProgress, projections.Batching{
		Threshold: e.cfg.FlushThreshold, Interval: e.cfg.FlushInterval, Busy: min(e.cfg.FlushInterval, busyFlush), Max: 4000,
	})
}

// writer is the journal as commands append to it: in groups where each append
// waits for this machine's disk.
func (e *engine) writer() history.Journal {
	if e.nats != nil && e.cfg.Durability == "synced" {
		return groupcommit.NewCommitter(e.history(), e.journal.Partitions())
	}
	return e.history()
}

// passOn writes an own event through to memory before its command is answered,
// so that the writer's next read here sees it.
func passOn(memory *tiers.Memory, rec *events.Record) {
	if rec.Type != events.StateSet && rec.Type != events.StateDeleted {
		return
	}
	if change, err := readmodel.EntryOf(rec); err == nil {
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
