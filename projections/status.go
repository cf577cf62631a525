package projections

import (
	"fmt"
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
	Poison     int     `json:"poison,omitempty"` // events it could not fold
}

// Status compares the runner with the journal's head, which the caller read.
func (r *Runner) Status(head uint64, now time.Time) Status {
	r.mu.Lock()
	s := Status{Name: r.View, Partition: r.Partition, State: r.state, Reason: r.reason, Poison: r.poison}
	if r.rebuild && (s.State == Running || s.State == Degraded) {
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
	return s
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
	if state == Running && r.poison > 0 {
		state, reason = Degraded, r.lastBad
	}
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

func (r *Runner) poisoned(bad []Message) {
	for i := range bad {
		r.Log.Error("event cannot be folded; the view goes on without it", "view", r.View,
			"partition", bad[i].Partition, "revision", bad[i].Revision, "stream", bad[i].Stream, "error", bad[i].Bad)
	}
	if len(bad) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.poison += len(bad)
	last := bad[len(bad)-1]
	r.lastBad = fmt.Sprintf("%d events could not be folded, the last at revision %d: %v", r.poison, last.Revision, last.Bad)
}
