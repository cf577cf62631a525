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
}

func newCommandSide(cfg *Config, log *slog.Logger) *commandSide {
	c := &commandSide{auto: cfg.Lifecycle == "auto"}
	ttl := cfg.IdleTTL
	if !c.auto {
		ttl = 0
	}
	c.activity = reactors.NewActivity(ttl, c.send, func() time.Time { return time.Now().UTC() }, log)
	return c
}

// open makes the handler, which needs the read model.
func (c *commandSide) open(cfg *Config, l limits, bounds commands.Bounds, j *journalReader, g *guard, nats *natsServer, m *readModel, s *streams) {
	c.handler = commands.NewHandler(j.writer(g, nats.embedded != nil && cfg.Durability == "synced"), commands.Config{
		Bounds: bounds, InFlight: cfg.LimitsInFlight, WaitBytes: l.waitBytes(), HeadBytes: l.headBytes(), Evictor: m.hydrator, Messenger: messages.NewMessenger(s.Streams), Past: j.history,
		Archive: j.commandIndex(), Observe: m.writeThrough,
	})
}

func (c *commandSide) send(ctx context.Context, req commands.Request) (commands.Receipt, error) {
	return c.handler.Send(ctx, req)
}

// touched records that an agent's entries were written, or read from below KV.
func (c *commandSide) touched(agent string) {
	if c.auto {
		c.activity.Touch(agent)
	}
}

// lastSeen is when an agent was last active since this engine started.
func (c *commandSide) lastSeen(_ context.Context, agent string) (time.Time, bool) {
	at := c.activity.LastSeen(agent)
	return at, !at.IsZero()
}
