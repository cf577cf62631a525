package reactors

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/events"
)

// Activity is the process manager of time: it knows when each agent was last
// heard of and when each open session ends, asks to hydrate an agent that is
// touched while cold or expired, and to expire what has gone silent. It lives
// on what every engine sees pass in the journal, and is found again after a
// start from the last event of each lifecycle and session. Several engines may
// ask for the same: an agent or session expires once.
type Activity struct {
	TTL  time.Duration // silence after which an active agent expires; 0 = never
	Send Send
	Now  func() time.Time
	Log  *slog.Logger

	mu       sync.Mutex
	agents   map[string]seen
	sessions map[string]time.Time // open ones: when they end
	asks     chan ask
}

type seen struct {
	phase   agent.Phase
	at      time.Time
	pending bool // an ask is under way
}

type ask struct{ aggregate, id, verb string }

// askQueue bounds the asks that wait; beyond it the next touch or sweep asks
// again.
const askQueue = 4096

// askers is how many asks are carried at once, so that one which waits for a
// slow store does not hold the others; askAgain is the rest after a failure.
const (
	askers   = 4
	askAgain = 10 * time.Second
)

// NewActivity makes an empty one; Run it.
func NewActivity(ttl time.Duration, send Send, now func() time.Time, log *slog.Logger) *Activity {
	return &Activity{
		TTL: ttl, Send: send, Now: now, Log: log,
		agents: map[string]seen{}, sessions: map[string]time.Time{}, asks: make(chan ask, askQueue),
	}
}

// Touch notes a write, a read that had to go below KV, or a heartbeat.
func (a *Activity) Touch(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.agents[id]
	s.at = a.Now()
	if !s.pending && (s.phase == "" || s.phase == agent.Cold || s.phase == agent.Expired) {
		s.pending = a.enqueue(ask{"agent", id, "hydrate"})
	}
	a.agents[id] = s
}

// Heard notes a heartbeat: it keeps an active agent from expiring and hydrates
// nothing.
func (a *Activity) Heard(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.agents[id]; ok {
		s.at = a.Now()
		a.agents[id] = s
	}
}

// LastSeen is when an agent was last heard of; zero = not since the start.
func (a *Activity) LastSeen(id string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.agents[id].at
}

// Changed notes an agent's phase or a session's end, from an event's state.
func (a *Activity) Changed(typ, id string, state []byte) {
	switch typ {
	case "session":
		var s session.Session
		if json.Unmarshal(state, &s) != nil {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if s.Status == session.Open {
			a.sessions[id] = s.ExpiresAt
		} else {
			delete(a.sessions, id)
		}
	case "lifecycle":
		var l agent.Lifecycle
		if json.Unmarshal(state, &l) != nil {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		s, known := a.agents[id]
		if s.phase = l.Now(); s.phase == agent.Cold || s.phase == agent.Expired {
			delete(a.agents, id) // heard of again when touched
			return
		}
		if !known {
			s.at = a.Now()
		}
		s.pending = false
		a.agents[id] = s
	}
}

func (a *Activity) enqueue(q ask) bool {
	select {
	case a.asks <- q:
		return true
	default:
		return false
	}
}

// Run asks and sweeps until ctx ends.
func (a *Activity) Run(ctx context.Context) {
	sessions, agents := time.NewTicker(time.Second), time.NewTicker(sweepEvery(a.TTL))
	defer sessions.Stop()
	defer agents.Stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	for range askers {
		asking.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case q := <-a.asks:
					a.carry(ctx, q)
				}
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-sessions.C:
			a.sweepSessions()
		case <-agents.C:
			a.sweepAgents()
		}
	}
}

// sweepEvery is how late an expiry may be noticed: an eighth of the TTL, within
// bounds.
func sweepEvery(ttl time.Duration) time.Duration {
	if ttl <= 0 {
		return time.Hour
	}
	return min(max(ttl/8, 200*time.Millisecond), 15*time.Second)
}

// sweepSessions asks for the expiry of sessions past their end.
func (a *Activity) sweepSessions() {
	now := a.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, ends := range a.sessions {
		if !now.Before(ends) && a.enqueue(ask{"session", id, "expire"}) {
			delete(a.sessions, id)
		}
	}
}

// sweepAgents asks for the expiry of agents that have gone silent.
func (a *Activity) sweepAgents() {
	now := a.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, s := range a.agents {
		if a.TTL > 0 && s.phase == agent.Active && !s.pending && now.Sub(s.at) >= a.TTL {
			s.pending = a.enqueue(ask{"agent", id, "expire"})
			a.agents[id] = s
		}
	}
}

// bodies say why the engine asks.
var bodies = map[string]string{"hydrate": `{"reason":"touched"}`, "expire": `{"reason":"idle"}`}

func (a *Activity) carry(ctx context.Context, q ask) {
	body := "{}"
	if q.aggregate == "agent" {
		body = bodies[q.verb]
	}
	receipt, err := a.Send(ctx, commands.Request{Aggregate: q.aggregate, ID: q.id, Verb: q.verb, Internal: true, Body: []byte(body)})
	if q.aggregate != "agent" {
		if err = settled(err); err != nil {
			a.Log.Warn("a session could not be expired; it is tried again", "session", q.id, "error", err)
			a.mu.Lock()
			a.sessions[q.id] = a.Now().Add(5 * time.Second)
			a.mu.Unlock()
		}
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.agents[q.id]
	if !ok {
		return
	}
	s.pending = false
	switch {
	case err != nil && settled(err) != nil:
		a.Log.Warn("an agent could not be moved; it is tried again", "agent", q.id, "verb", q.verb, "error", err)
		if q.verb == "expire" {
			s.at = a.Now().Add(askAgain - a.TTL)
		}
	case s.phase != "" && s.phase != agent.Cold && s.phase != agent.Expired: // the journal was quicker
	case q.verb == "hydrate" && err == nil && receipt.Outcome == domain.Unchanged:
		s.phase = agent.Active // or on its way there
	case q.verb == "hydrate" && err == nil:
		s.phase = agent.Hydrating
	}
	a.agents[q.id] = s
}

// Recover takes in the last event of a lifecycle or session, after a start.
func (a *Activity) Recover(rec *events.Record) {
	switch rec.Aggregate {
	case "session":
		a.Changed("session", rec.ID, rec.State)
	case "agent":
		a.Changed("lifecycle", rec.ID, rec.State)
	}
}
