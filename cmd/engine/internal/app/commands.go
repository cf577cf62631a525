package app

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/commands/taskqueue"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// commandSide executes commands, and follows which agents are active.
type commandSide struct {
	handler  *commands.Handler
	activity *reactors.Activity
	tasks    *taskqueue.Queue
	auto     bool // agents hydrate and expire without commands
	model    *readModel
}

func newCommandSide(cfg *settings.Config, b *buckets, log *slog.Logger) *commandSide {
	c := &commandSide{auto: cfg.Lifecycle == "auto"}
	ttl := b.entries.TTL
	switch {
	case !c.auto:
		ttl = func() time.Duration { return 0 }
	case cfg.IdleTTL != nil:
		ttl = func() time.Duration { return *cfg.IdleTTL }
	}
	c.activity = reactors.NewActivity(ttl, c.send, (*keeper)(c), log)
	return c
}

// keeper keeps the rows of active agents in KV.
type keeper commandSide

func (k *keeper) Keep(ctx context.Context, agent string) error {
	return k.model.hydrator.Keep(ctx, agent)
}

func (k *keeper) Interval() time.Duration { return k.model.hot.KeepInterval() }

// open makes the handler, which needs the read model.
func (c *commandSide) open(e *Engine, bounds commands.Bounds) error {
	j, m := e.journal, e.model
	c.model = m
	conf := commands.Config{
		Bounds: bounds, InFlight: e.cfg.LimitsInFlight, WaitBytes: e.limits.WaitBytes(), HeadBytes: e.limits.HeadBytes(),
		Evictor: m.hydrator, Heartbeats: feeds.NewHeartbeats(e.streams.Streams), Past: j.history,
		Archive: j.commandIndex(), Permit: e.authority.permit, Trace: e.tracer,
		Observe: func(rec events.Record) {
			m.writeThrough(rec)
			c.tasks.Observe(&rec)
		},
	}
	if e.eraser != nil {
		conf.Keys, conf.Eraser = e.eraser.keys, e.eraser
	}
	var handler atomic.Pointer[commands.Handler]
	if e.nats.Embedded == nil { // else this engine is alone
		peers, err := e.startPeers(func(ctx context.Context, message string) bool {
			h := handler.Load()
			return h == nil || h.Withdrawn(ctx, message)
		})
		if err != nil {
			return err
		}
		conf.Peers = peers
	}
	synced := e.nats.Embedded != nil && e.cfg.Durability == "synced"
	c.handler = commands.NewHandler(j.writer(e.guard, synced), conf)
	handler.Store(c.handler)
	c.tasks = taskqueue.New(taskqueue.Config{
		Claim: c.send, Permit: c.handler.PermitNext, Now: func() time.Time { return time.Now().UTC() }, Bytes: e.limits.TaskBytes(), Log: e.log,
		Load:     (&waitingTasks{j.history, m.durable, e.log}).each,
		Preload:  c.handler.PreloadTask,
		CaughtUp: func(ctx context.Context) error { return caughtUp(ctx, j, m.tail) },
	})
	return nil
}

// startPeers joins the other engines on an external server.
func (e *Engine) startPeers(withdrawn func(ctx context.Context, message string) bool) (*coordination.Peers, error) {
	nc, err := e.nats.Connect("peers")
	if err != nil {
		return nil, err
	}
	p, err := coordination.StartPeers(nc, e.nats.Subjects, withdrawn)
	if err == nil {
		e.stops.Add(lifecycle.InBackground(p.Run))
	}
	return p, err
}

// caughtUp waits until this engine has followed the journal to its present end.
func caughtUp(ctx context.Context, j *journalReader, tail *projections.Progress) error {
	for p := range j.Partitions() {
		head, err := j.Head(ctx, p)
		if err != nil {
			return domain.Errorf(domain.Unavailable, "journal.unavailable", "the journal cannot be read; send the same request again")
		}
		if !tail.Wait(ctx, p, head) {
			return domain.Errorf(domain.Unavailable, "read.behind", "this engine is behind the journal's end; send the same request again")
		}
	}
	return nil
}

// changed takes a document's state from the journal.
func (c *commandSide) changed(kind, id string, state []byte, revision uint64) {
	if kind == readmodel.KindTask {
		c.tasks.Changed(id, state, revision)
		return
	}
	c.activity.Changed(kind, id, state, revision)
}

// forget drops what is known of a journal that was replaced.
func (c *commandSide) forget() {
	c.handler.Forget()
	c.tasks.Reload()
}

func (c *commandSide) send(ctx context.Context, req commands.Request) (commands.Receipt, error) {
	return c.handler.Send(ctx, req)
}

// missed records that an agent's entries were read from below KV.
func (c *commandSide) missed(agent string) { c.written(agent, 0) }

// written records that an agent's entry was written at a revision.
func (c *commandSide) written(agent string, revision uint64) {
	if c.auto {
		c.activity.Touch(agent, revision)
	}
}

// lastSeen is when an agent was last active since this engine started.
func (c *commandSide) lastSeen(_ context.Context, agent string) (time.Time, bool) {
	at := c.activity.LastSeen(agent)
	return at, !at.IsZero()
}
