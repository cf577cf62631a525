package reactors

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/logs"
)

// Activity is the process manager of idle agents and open sessions. It
// hydrates a cold or expired agent that is touched, expires an agent that is
// idle for the TTL, and expires a session at its end. Its state is in memory:
// it follows the journal and starts from the last event of each lifecycle and
// session. Several engines may send the same command: it takes effect once.
type Activity struct {
	ttl    func() time.Duration // idle time after which an active agent expires; 0 = never
	send   Send
	keeper Keeper           // nil = rows are not kept
	wall   func() time.Time // time.Now is used for its monotonic reading: idle time follows no clock that is set

	mu       sync.Mutex
	agents   map[string]agentActivity
	wanted   map[string]struct{}  // agents that a touch needs active
	sessions map[string]time.Time // end of each open session
	requests chan request
	swept    struct{ at, wall time.Time } // the last sweep

	failed logs.Limited // commands: while a store is away those of each agent and session fail again and again
}

// Keeper keeps the rows of active agents in the hot tier.
type Keeper interface {
	// Keep puts what the hot tier lacks of an agent, and puts rows again before they
	// lapse.
	Keep(ctx context.Context, agent string) error
	// Interval is the time between two calls for an agent.
	Interval() time.Duration
}

type agentActivity struct {
	phase    agent.Phase
	revision uint64 // of the last lifecycle event
	wrote    uint64 // revision of the last write
	lastSeen time.Time
	kept     time.Time // when its rows were kept last; zero = keep them now
	expiring time.Time // when this engine began to expire it; zero = it did not
	retry    time.Time // no expiry before
	pending  bool      // a request is queued or running
}

// needsHydration reports whether a touch starts a hydration.
func (a *agentActivity) needsHydration() bool {
	return a.phase == "" || a.phase == agent.Cold || a.phase == agent.Expired
}

// NewActivity returns an Activity that knows no agents; call Run. ttl is the idle
// time after which an active agent expires, which may change; 0 = never.
func NewActivity(ttl func() time.Duration, send Send, keeper Keeper, log *slog.Logger) *Activity {
	return &Activity{
		ttl: ttl, send: send, keeper: keeper, failed: logs.NewLimited(log, 1),
		wall:   func() time.Time { return time.Now().Round(0) },
		agents: map[string]agentActivity{}, wanted: map[string]struct{}{}, sessions: map[string]time.Time{},
		requests: make(chan request, maxQueued),
	}
}

// Touch records a write at a revision, or, with revision 0, a read that KV could
// not answer. A write before the agent's last lifecycle event changes nothing.
func (a *Activity) Touch(id string, revision uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.agents[id]
	s.lastSeen, s.wrote = time.Now(), max(s.wrote, revision)
	a.agents[id] = s
	if s.needsHydration() && (revision == 0 || revision > s.revision) {
		a.want(id, s)
	}
}

// want requests a hydration; the caller holds the lock. The sweep repeats the
// request until the agent is active.
func (a *Activity) want(id string, s agentActivity) {
	a.wanted[id] = struct{}{}
	if !s.pending {
		s.pending = a.enqueue(request{"agent", id, "hydrate"})
	}
	a.agents[id] = s
}

// Heartbeat records that an agent is alive. It delays the agent's expiry and never
// starts a hydration.
func (a *Activity) Heartbeat(id string) {
	if domain.CheckAgentID(id) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, known := a.agents[id]
	if !known && len(a.agents) >= maxAbsent {
		return
	}
	s.lastSeen = time.Now()
	a.agents[id] = s
}

// maxAbsent bounds the agents of which nothing is known but heartbeats.
const maxAbsent = 1_000_000

// KeepAll lets the rows of all active agents be kept at once, because the hot tier
// may have lost some.
func (a *Activity) KeepAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keepAll()
}

func (a *Activity) keepAll() {
	for id, s := range a.agents {
		s.kept = time.Time{}
		a.agents[id] = s
	}
}

// LastSeen is the time of an agent's last touch or heartbeat; zero = none since
// the engine started.
func (a *Activity) LastSeen(id string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.agents[id].lastSeen.UTC()
}

// Changed takes an agent's phase or a session's end from an event's state. typ
// is "lifecycle" or "session"; revision is the event's.
func (a *Activity) Changed(typ, id string, state []byte, revision uint64) {
	switch typ {
	case "session":
		var s session.Session
		if json.Unmarshal(state, &s) == nil {
			a.sessionChanged(id, &s)
		}
	case "lifecycle":
		var l agent.Lifecycle
		if json.Unmarshal(state, &l) == nil {
			a.phaseChanged(id, l.Now(), revision)
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

func (a *Activity) phaseChanged(id string, phase agent.Phase, revision uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, known := a.agents[id]
	if revision < s.revision {
		return
	}
	// The agent was written after this event, or it was written, read or alive while
	// this engine expired it as idle.
	revive := s.wrote > revision || phase == agent.Expired && !s.expiring.IsZero() && s.lastSeen.After(s.expiring)
	s.phase, s.revision, s.pending, s.expiring = phase, revision, false, time.Time{}
	if s.needsHydration() {
		if a.agents[id] = s; revive {
			a.want(id, s)
		}
		return
	}
	delete(a.wanted, id)
	if !known {
		s.lastSeen = time.Now()
	}
	if phase == agent.Hydrating {
		s.kept = time.Now() // the hydration puts all rows
	}
	a.agents[id] = s
}

// Recover takes the last event of a lifecycle or session at the start.
func (a *Activity) Recover(rec *events.Record) {
	switch rec.Aggregate {
	case "session":
		a.Changed("session", rec.ID, rec.State, rec.Revision)
	case "agent":
		a.Changed("lifecycle", rec.ID, rec.State, rec.Revision)
	}
}
