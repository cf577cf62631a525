package reactors

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
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
	sessions, agents := time.NewTicker(time.Second), time.NewTimer(0)
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
			a.hydrateWanted()
		case <-agents.C:
			a.sweepAgents()
			agents.Reset(a.sweepInterval())
		}
	}
}

// sweepInterval bounds how late an expiry is noticed: an eighth of the TTL, from
// 200 ms to 15 s; rows are kept as punctually.
func (a *Activity) sweepInterval() time.Duration {
	interval := 15 * time.Second
	if ttl := a.ttl(); ttl > 0 {
		interval = min(interval, ttl/8)
	}
	if a.keeper != nil {
		interval = min(interval, a.keeper.Interval()/2)
	}
	return max(interval, 200*time.Millisecond)
}

// hydrateWanted repeats the requests of hydrations that have not begun.
func (a *Activity) hydrateWanted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.wanted {
		if s := a.agents[id]; !s.needsHydration() {
			delete(a.wanted, id)
		} else if !s.pending {
			a.want(id, s)
		}
	}
}

func (a *Activity) expireSessions() {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, end := range a.sessions {
		if !now.Before(end) && a.enqueue(request{"session", id, "expire"}) {
			delete(a.sessions, id)
		}
	}
}

// forgetAfter is how long an agent that is not active is remembered for its
// last-seen time.
const forgetAfter = time.Hour

// clockSet is the change of the clock from which on it was set, or the machine has slept: rows
// lapse by the clock of their server, which may be of the same machine.
const clockSet = 2 * time.Second

// sweepAgents expires idle agents, keeps the rows of the others, and forgets those
// that are not active.
func (a *Activity) sweepAgents() {
	now, wall, ttl := time.Now(), a.wall(), a.ttl()
	a.mu.Lock()
	defer a.mu.Unlock()
	if set := wall.Sub(a.swept.wall) - now.Sub(a.swept.at); !a.swept.at.IsZero() && set.Abs() > clockSet {
		a.keepAll()
	}
	a.swept.at, a.swept.wall = now, wall
	for id, s := range a.agents {
		_, wanted := a.wanted[id]
		switch {
		case s.pending:
		case s.needsHydration():
			if !wanted && now.Sub(s.lastSeen) > forgetAfter {
				delete(a.agents, id)
			}
		case s.phase == agent.Active && ttl > 0 && now.Sub(s.lastSeen) >= ttl && !now.Before(s.retry):
			s.pending = a.enqueue(request{"agent", id, "expire"})
			a.agents[id] = s
		case s.phase != agent.Hydrating && a.keeper != nil && now.Sub(s.kept) >= a.keeper.Interval():
			if a.enqueue(request{"agent", id, "keep"}) {
				s.kept = now
				a.agents[id] = s
			}
		}
	}
}

func (a *Activity) handle(ctx context.Context, r request) {
	switch {
	case r.aggregate == "session":
		a.expireSession(ctx, r)
	case r.verb == "keep":
		a.keep(ctx, r.id)
	case r.verb == "hydrate" || a.stillIdle(r.id):
		a.moveAgent(ctx, r)
	}
}

func (a *Activity) keep(ctx context.Context, id string) {
	err := a.keeper.Keep(ctx, id)
	if err == nil || ctx.Err() != nil {
		return
	}
	a.failed.Warn("keeping the rows of an agent in KV failed, retrying", "agent", id, "error", err)
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.agents[id]
	s.kept = time.Now().Add(min(agentRetry, a.keeper.Interval()/2) - a.keeper.Interval())
	a.agents[id] = s
}

// stillIdle reports whether an agent has shown no sign of life since its expiry was
// queued; signs of life from now on revive it.
func (a *Activity) stillIdle(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, now := a.agents[id], time.Now()
	idle := s.phase == agent.Active && now.Sub(s.lastSeen) >= a.ttl()
	if s.pending = idle; idle {
		s.expiring = now
	}
	a.agents[id] = s
	return idle
}

func (a *Activity) expireSession(ctx context.Context, r request) {
	_, err := a.command(ctx, r, "{}")
	if err = ignoreRefusal(err); err == nil {
		return
	}
	a.failed.Warn("expiring a session failed, retrying", "session", r.id, "error", err, "retry_in", sessionRetry)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[r.id] = time.Now().Add(sessionRetry)
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
	case IsRefusal(err):
		delete(a.wanted, r.id)
	case err != nil:
		a.failed.Warn("changing an agent's phase failed, retrying", "agent", r.id, "verb", r.verb, "error", err)
		s.retry = time.Now().Add(agentRetry)
	case r.verb == "hydrate" && s.needsHydration() && receipt.Revision > s.revision: // the receipt was quicker than the journal's event
		s.phase, s.revision = agent.Hydrating, receipt.Revision
	}
	a.agents[r.id] = s
}

func (a *Activity) command(ctx context.Context, r request, body string) (commands.Receipt, error) {
	return a.send(ctx, commands.Request{Aggregate: r.aggregate, ID: r.id, Verb: r.verb, Internal: true, Body: []byte(body)})
}
