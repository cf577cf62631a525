package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/infra/natsio/messages"
)

// commandSide executes commands, and follows which agents are active.
type commandSide struct {
	handler  *commands.Handler
	activity *reactors.Activity
	auto     bool // agents hydrate and expire without commands
	model    *readModel
}

func newCommandSide(cfg *Config, b *buckets, log *slog.Logger) *commandSide {
	c := &commandSide{auto: cfg.Lifecycle == "auto"}
	ttl := b.entries.TTL
	switch {
	case !c.auto:
		ttl = func() time.Duration { return 0 }
	case cfg.IdleTTL != nil:
		ttl = func() time.Duration { return *cfg.IdleTTL }
	}
	c.activity = reactors.NewActivity(ttl, c.send, (*keeper)(c), func() time.Time { return time.Now().UTC() }, log)
	return c
}

// keeper keeps the rows of active agents in KV.
type keeper commandSide

func (k *keeper) Keep(ctx context.Context, agent string) error {
	return k.model.hydrator.Keep(ctx, agent)
}

func (k *keeper) Interval() time.Duration { return k.model.hot.KeepInterval() }

// open makes the handler, which needs the read model.
func (c *commandSide) open(cfg *Config, l limits, bounds commands.Bounds, j *journalReader, g *guard, nats *natsServer, m *readModel, s *streams, a *authority, er *eraser) {
	c.model = m
	conf := commands.Config{
		Bounds: bounds, InFlight: cfg.LimitsInFlight, WaitBytes: l.waitBytes(), HeadBytes: l.headBytes(), Evictor: m.hydrator, Messenger: messages.NewMessenger(s.Streams), Past: j.history,
		Archive: j.commandIndex(), Observe: m.writeThrough, Permit: a.permit,
	}
	if er != nil {
		conf.Keys, conf.Eraser = er.keys, er
	}
	c.handler = commands.NewHandler(j.writer(g, nats.embedded != nil && cfg.Durability == "synced"), conf)
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
