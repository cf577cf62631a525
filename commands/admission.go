package commands

import (
	"context"
	"strings"
	"sync"

	"github.com/tidemark-engine/tidemark/domain"
)

// retryAfter is how long clients of an overloaded engine should wait, in
// milliseconds.
const retryAfter = 50

// admission bounds the commands in flight, by number and by bytes. A client may have as
// many as places are free, so that several greedy clients leave room for the others.
type admission struct {
	max holding

	mu      sync.Mutex
	used    holding
	clients map[string]int64 // commands in flight
}

// holding is what commands in flight hold.
type holding struct{ commands, bytes int64 }

type clientKey struct{}

// WithClient returns a context of the commands of one client. Commands without a client
// are those of the engine's own queues, which bound themselves.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

type connectedKey struct{}

// WithConnected returns a context of a request whose sender is connected as long as connected
// returns true.
func WithConnected(ctx context.Context, connected func() bool) context.Context {
	return context.WithValue(ctx, connectedKey{}, connected)
}

// Connected returns how to ask whether the sender of a request is still connected. Where that
// cannot be known, the sender counts as connected.
func Connected(ctx context.Context) func() bool {
	if connected, _ := ctx.Value(connectedKey{}).(func() bool); connected != nil {
		return connected
	}
	return func() bool { return true }
}

// enter admits commands with the given bytes of bodies, or refuses with 429
// engine.overloaded. Each admission must be followed by leave. The engine's own
// commands are always admitted: what they follow has happened.
func (a *admission) enter(ctx context.Context, own bool, commands, bytes int) error {
	client, _ := ctx.Value(clientKey{}).(string)
	a.mu.Lock()
	defer a.mu.Unlock()
	next, mine := holding{a.used.commands + int64(commands), a.used.bytes + int64(bytes)}, a.clients[client]+int64(commands)
	switch {
	case own:
	case next.commands > a.max.commands:
		return overloaded("%d commands are in flight", a.max.commands)
	case next.bytes > a.max.bytes:
		return overloaded("commands of %d bytes are in flight", a.max.bytes)
	case client != "" && mine > 1 && mine > a.max.commands-next.commands:
		return overloaded("%d commands of this connection are in flight, as many as there is room for", mine-int64(commands))
	}
	a.used = next
	if client != "" {
		if a.clients == nil {
			a.clients = map[string]int64{}
		}
		if _, known := a.clients[client]; !known {
			client = strings.Clone(client) // it is a part of a message
		}
		a.clients[client] = mine
	}
	return nil
}

func (a *admission) leave(ctx context.Context, commands, bytes int) {
	client, _ := ctx.Value(clientKey{}).(string)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used.commands, a.used.bytes = a.used.commands-int64(commands), a.used.bytes-int64(bytes)
	if client == "" {
		return
	}
	if a.clients[client] -= int64(commands); a.clients[client] == 0 {
		delete(a.clients, client)
	}
}

// inFlight is the number of admitted commands.
func (a *admission) inFlight() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used.commands
}

func overloaded(format string, limit int64) error {
	return domain.Errorf(domain.Overloaded, "engine.overloaded", format, limit).With("retry_after_ms", retryAfter)
}
