package reactors

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
)

const (
	maxQueued    = 4096 // requests; a full queue drops, and the next touch or sweep requests again
	senders      = 4    // concurrent requests, so that one slow store does not block the others
	agentRetry   = 10 * time.Second
	sessionRetry = 5 * time.Second
)

// request is one command to send.
type request struct{ aggregate, id, verb string }

// enqueue reports whether the queue had room.
func (a *Activity) enqueue(r request) bool {
	select {
	case a.requests <- r:
		return true
	default:
		return false
	}
}

// Run sends requests and looks for expired agents and sessions until ctx ends.
func (a *Activity) Run(ctx context.Context) {
	sessions, agents := time.NewTicker(time.Second), time.NewTicker(agentSweepInterval(a.ttl))
	defer sessions.Stop()
	defer agents.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	for range senders {
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case r := <-a.requests:
					a.handle(ctx, r)
				}
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-sessions.C:
			a.expireSessions()
		case <-agents.C:
			a.expireAgents()
		}
	}
}

// agentSweepInterval bounds how late an expiry is noticed: an eighth of the
// TTL, from 200 ms to 15 s.
func agentSweepInterval(ttl time.Duration) time.Duration {
	if ttl <= 0 {
		return time.Hour
	}
	return min(max(ttl/8, 200*time.Millisecond), 15*time.Second)
}

func (a *Activity) expireSessions() {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, end := range a.sessions {
		if !now.Before(end) && a.enqueue(request{"session", id, "expire"}) {
			delete(a.sessions, id)
		}
	}
}

func (a *Activity) expireAgents() {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, s := range a.agents {
		if a.ttl > 0 && s.phase == agent.Active && !s.pending && now.Sub(s.lastSeen) >= a.ttl {
			s.pending = a.enqueue(request{"agent", id, "expire"})
			a.agents[id] = s
		}
	}
}

func (a *Activity) handle(ctx context.Context, r request) {
	if r.aggregate == "session" {
		a.expireSession(ctx, r)
	} else {
		a.moveAgent(ctx, r)
	}
}

func (a *Activity) expireSession(ctx context.Context, r request) {
	_, err := a.command(ctx, r, "{}")
	if err = ignoreRefusal(err); err == nil {
		return
	}
	a.log.Warn("expiring a session failed, retrying", "session", r.id, "error", err, "retry_in", sessionRetry)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[r.id] = a.now().Add(sessionRetry)
}

// agentBodies give the reason that the engine hydrates or expires an agent.
var agentBodies = map[string]string{"hydrate": `{"reason":"touched"}`, "expire": `{"reason":"idle"}`}

func (a *Activity) moveAgent(ctx context.Context, r request) {
	receipt, err := a.command(ctx, r, agentBodies[r.verb])
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.agents[r.id]
	if !ok {
		return
	}
	s.pending = false
	switch {
	case ignoreRefusal(err) != nil:
		a.log.Warn("changing an agent's phase failed, retrying", "agent", r.id, "verb", r.verb, "error", err)
		if r.verb == "expire" {
			s.lastSeen = a.now().Add(agentRetry - a.ttl)
		}
	case !s.needsHydration(): // the journal's event was quicker than the receipt
	case r.verb == "hydrate" && err == nil && receipt.Outcome == domain.Unchanged:
		s.phase = agent.Active // or hydrating already
	case r.verb == "hydrate" && err == nil:
		s.phase = agent.Hydrating
	}
	a.agents[r.id] = s
}

func (a *Activity) command(ctx context.Context, r request, body string) (commands.Receipt, error) {
	return a.send(ctx, commands.Request{Aggregate: r.aggregate, ID: r.id, Verb: r.verb, Internal: true, Body: []byte(body)})
}
