package projections

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Status is the state of a runner, with the member names of the wire contract.
type Status struct {
	Name       string  `json:"name"`
	Partition  int     `json:"partition"`
	Position   uint64  `json:"position"`
	Head       uint64  `json:"head"`
	LagEvents  uint64  `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"` // age of the oldest waiting event
	State      string  `json:"state"`
	Reason     string  `json:"reason,omitempty"`
	// Quarantined is the number of quarantined aggregates; Held names the first of them.
	Quarantined int      `json:"quarantined,omitempty"`
	Held        []string `json:"held,omitempty"`
}

// maxNamed is the number of quarantined aggregates that a status names.
const maxNamed = 5

// slowWrite is how long a write may take before its view waits.
const slowWrite = 2 * time.Second

// runnerState is what the status shows of a runner. Any goroutine may read it.
type runnerState struct {
	mu      sync.Mutex
	state   string // one of the states of a runner
	said    bool   // the log says that the view does not run
	reason  string
	rebuild bool
	oldest  time.Time // recorded time of the oldest event that waits; zero = none
	writing time.Time // when the write that runs began; zero = none runs
	// stuckAt is the position of a lagging view that this engine does not run, since stuckTime.
	stuckAt   uint64
	stuckTime time.Time
}

// Status returns the runner's state relative to the journal's head, which the caller has read.
func (r *Runner) Status(head uint64, now time.Time) Status {
	r.mu.Lock()
	s := Status{Name: r.View, Partition: r.Partition, State: r.state, Reason: r.reason}
	if r.rebuild && s.State == Running {
		s.State = Rebuilding
	}
	oldest := r.oldest
	if took := now.Sub(r.writing); !r.writing.IsZero() && took >= slowWrite && s.State != Halted {
		s.State, s.Reason = Waiting, fmt.Sprintf("the store has not answered a write for %s", took.Truncate(time.Second))
	}
	r.mu.Unlock()
	s.Position = r.Progress.At(r.Partition)
	s.Head = max(head, s.Position)
	s.LagEvents = s.Head - s.Position
	if s.LagEvents > 0 && oldest.IsZero() {
		oldest = r.stuckSince(s.Position, now)
	}
	if s.LagEvents > 0 {
		s.LagSeconds = max(0, now.Sub(oldest).Seconds())
	}
	if s.State == Standby && s.Reason == "" && s.LagSeconds > abandoned.Seconds() {
		s.Reason = "no engine makes progress with this view"
	}
	r.addQuarantine(&s)
	return s
}

// abandoned is the lag of a standby view from which on its status says that no engine runs it.
const abandoned = 15 * time.Second

// stuckSince returns since when the view is known to be at a position: another engine runs it, or
// none, so that this one does not know its oldest waiting event.
func (s *runnerState) stuckSince(position uint64, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuckTime.IsZero() || s.stuckAt != position {
		s.stuckAt, s.stuckTime = position, now
	}
	return s.stuckTime
}

// addQuarantine adds the quarantined aggregates to the status.
func (r *Runner) addQuarantine(s *Status) {
	if r.Quarantine == nil {
		return
	}
	var why []string
	for _, h := range r.Quarantine.Cached(r.View, r.Partition) {
		if !h.Waits() {
			continue
		}
		if s.Quarantined++; s.Quarantined <= maxNamed {
			s.Held = append(s.Held, string(h.Stream))
			why = append(why, fmt.Sprintf("%s since revision %d: %s", h.Stream, h.First, h.Reason))
		}
	}
	if s.Quarantined > 0 && s.State == Running {
		s.State = Degraded
		s.Reason = fmt.Sprintf("%d quarantined (engine dlq list): %s", s.Quarantined, strings.Join(why, "; "))
	}
}

// Standby sets the state to standby: another engine runs the view.
func (r *Runner) Standby() { r.setState(Standby, "") }

// Rebuilding sets whether a shadow of the view is being folded.
func (r *Runner) Rebuilding(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rebuild = on
}

// setState changes the state and reports whether it differs from the previous one.
func (r *Runner) setState(state, reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := r.state != state
	if changed && (r.state == Waiting || r.state == Halted) && r.said {
		r.Log.Info("view continues", "view", r.View, "partition", r.Partition)
		r.said = false
	}
	r.state, r.reason = state, reason
	return changed
}

// say logs that the view waits or is halted, and that it continues later.
func (r *Runner) say(level slog.Level, text string, err error) {
	r.Log.Log(context.Background(), level, text, "view", r.View, "partition", r.Partition, "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = true
}

// setOldest sets the recorded time of the oldest waiting event; zero = none.
func (s *runnerState) setOldest(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest = since
}

// setWriting sets when the write that runs began; zero = none runs.
func (s *runnerState) setWriting(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = since
}

// Lag gives a status that has a lag in events a lag in seconds at least as large as the
// time since the view was first seen with less than the head it had then. A view that
// no engine runs, or that has read none of the events that wait, does not know their age.
type Lag struct {
	// Since is from when on the view is behind if the first look finds it so; zero = from that
	// look on.
	Since time.Time

	head uint64    // not reached since
	at   time.Time // this time
}

// Add sets LagSeconds.
func (l *Lag) Add(s *Status, now time.Time) {
	if s.LagEvents == 0 {
		l.head, l.Since = 0, time.Time{}
		return
	}
	if l.head == 0 || s.Position >= l.head {
		if l.head, l.at = s.Head, now; !l.Since.IsZero() {
			l.at, l.Since = l.Since, time.Time{}
		}
	}
	s.LagSeconds = max(s.LagSeconds, now.Sub(l.at).Seconds())
}
