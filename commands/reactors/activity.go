package reactors

import (
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/events"
)

// Activity is the process manager of idle agents and open sessions. It
// hydrates a cold or expired agent that is touched, expires an agent that is
// idle for the TTL, and expires a session at its end. Its state is in memory:
// it follows the journal and starts from the last event of each lifecycle and
// session. Several engines may send the same command: it takes effect once.
type Activity struct {
	ttl  time.Duration // idle time after which an active agent expires; 0 = never
	send Send
	now  func() time.Time
	log  *slog.Logger

	mu       sync.Mutex
	agents   map[string]agentActivity
	sessions map[string]time.Time // end of each open session
	requests chan request
}

type agentActivity struct {
	phase    agent.Phase
	lastSeen time.Time
	pending  bool // a request is queued or running
}

// needsHydration reports whether a touch starts a hydration.
func (a *agentActivity) needsHydration() bool {
	return a.phase == "" || a.phase == agent.Cold || a.phase == agent.Expired
}

// NewActivity returns an Activity that knows no agents; call Run.
func NewActivity(ttl time.Duration, send Send, now func() time.Time, log *slog.Logger) *Activity {
	return &Activity{
		ttl: ttl, send: send, now: now, log: log,
		agents: map[string]agentActivity{}, sessions: map[string]time.Time{}, requests: make(chan request, maxQueued),
	}
}

// Touch records a write, or a read that KV could not answer.
func (a *Activity) Touch(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.agents[id]
	s.lastSeen = a.now()
	if !s.pending && s.needsHydration() {
		s.pending = a.enqueue(request{"agent", id, "hydrate"})
	}
	a.agents[id] = s
}

// Heartbeat records that an agent is alive. It delays the expiry of a known
// agent and never starts a hydration.
func (a *Activity) Heartbeat(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.agents[id]; ok {
		s.lastSeen = a.now()
		a.agents[id] = s
	}
}

// LastSeen is the time of an agent's last touch or heartbeat; zero = none since
// the engine started.
func (a *Activity) LastSeen(id string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.agents[id].lastSeen
}

// Changed takes an agent's phase or a session's end from an event's state. typ
// is "lifecycle" or "session".
func (a *Activity) Changed(typ, id string, state []byte) {
	switch typ {
	case "session":
		var s session.Session
		if json.Unmarshal(state, &s) == nil {
			a.sessionChanged(id, &s)
		}
	case "lifecycle":
		var l agent.Lifecycle
		if json.Unmarshal(state, &l) == nil {
			a.phaseChanged(id, l.Now())
		}
	}
}

func (a *Activity) sessionChanged(id string, s *session.Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.Status == session.Open {
		a.sessions[id] = s.ExpiresAt
	} else {
		delete(a.sessions, id)
	}
}

func (a *Activity) phaseChanged(id string, phase agent.Phase) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if phase == agent.Cold || phase == agent.Expired {
		delete(a.agents, id) // the next touch adds it
		return
	}
	s, known := a.agents[id]
	if !known {
		s.lastSeen = a.now()
	}
	s.phase, s.pending = phase, false
	a.agents[id] = s
}

// Recover takes the last event of a lifecycle or session at the start.
func (a *Activity) Recover(rec *events.Record) {
	switch rec.Aggregate {
	case "session":
		a.Changed("session", rec.ID, rec.State)
	case "agent":
		a.Changed("lifecycle", rec.ID, rec.State)
	}
}
