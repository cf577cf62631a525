package projections

import (
	"fmt"
	"strings"
	"time"
)

// Status is what a runner says of itself, in the contract's words.
type Status struct {
	Name       string  `json:"name"`
	Partition  int     `json:"partition"`
	Position   uint64  `json:"position"`
	Head       uint64  `json:"head"`
	LagEvents  uint64  `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"` // age of the oldest event that waits
	State      string  `json:"state"`
	Reason     string  `json:"reason,omitempty"`
	// Quarantined is how many aggregates the view leaves out; Held names the
	// first of them.
	Quarantined int      `json:"quarantined,omitempty"`
	Held        []string `json:"held,omitempty"`
}

// heldShown is how many held aggregates a status names.
const heldShown = 5

// Status compares the runner with the journal's head, which the caller read.
func (r *Runner) Status(head uint64, now time.Time) Status {
	r.mu.Lock()
	s := Status{Name: r.View, Partition: r.Partition, State: r.state, Reason: r.reason}
	if r.rebuild && s.State == Running {
		s.State = Rebuilding
	}
	oldest := r.oldest
	r.mu.Unlock()
	s.Position = r.Progress.At(r.Partition)
	s.Head = max(head, s.Position)
	s.LagEvents = s.Head - s.Position
	if s.LagEvents > 0 && !oldest.IsZero() {
		s.LagSeconds = max(0, now.Sub(oldest).Seconds())
	}
	r.quarantined(&s)
	return s
}

// quarantined adds what the view leaves out.
func (r *Runner) quarantined(s *Status) {
	if r.Quarantine == nil {
		return
	}
	var why []string
	for _, h := range r.Quarantine.Known(r.View, r.Partition) {
		if !h.Waits() {
			continue
		}
		if s.Quarantined++; s.Quarantined <= heldShown {
			s.Held = append(s.Held, string(h.Stream))
			why = append(why, fmt.Sprintf("%s since revision %d: %s", h.Stream, h.First, h.Reason))
		}
	}
	if s.Quarantined > 0 && s.State == Running {
		s.State = Degraded
		s.Reason = fmt.Sprintf("%d quarantined (engine dlq list): %s", s.Quarantined, strings.Join(why, "; "))
	}
}

// Standby says that another engine runs the view.
func (r *Runner) Standby() { r.set(Standby, "") }

// Rebuilding says that the view's rows are being folded anew beside it.
func (r *Runner) Rebuilding(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rebuild = on
}

// set changes the state and tells whether it is another one than before.
func (r *Runner) set(state, reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := r.state != state
	if changed && (r.state == Waiting || r.state == Halted) {
		r.Log.Info("view goes on", "view", r.View, "partition", r.Partition)
	}
	r.state, r.reason = state, reason
	return changed
}

func (r *Runner) waiting(since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.oldest = since
}
