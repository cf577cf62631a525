package verify

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
)

// Auditor checks one aggregate after the other for ever, so that in time each
// has been: those of the journal where their last event lies, and rows of the
// tiers that the journal does not know. It only tells; `engine verify --repair`
// mends.
type Auditor struct {
	Spot Sampler
	Rate float64 // checks a second
	// Busy: there is more urgent work; the audit waits.
	Busy func() bool
	Log  *slog.Logger

	mu      sync.Mutex
	checked int64
	open    map[events.Stream][]Difference // that stand
	last    Difference
	at      time.Time
	waits   string // why it does not go on
}

// AuditStatus is what an auditor says of itself.
type AuditStatus struct {
	State       string    `json:"state"` // running, standby, waiting
	Reason      string    `json:"reason,omitempty"`
	Checked     int64     `json:"checked"`     // aggregates, since the engine's start
	Differences int       `json:"differences"` // that stand now
	Last        string    `json:"last_difference,omitempty"`
	At          time.Time `json:"at,omitzero"` // when that was found
}

// Status is how far the audit is.
func (a *Auditor) Status() AuditStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := AuditStatus{State: projections.Running, Reason: a.waits, Checked: a.checked, At: a.at}
	switch {
	case a.open == nil:
		s.State = projections.Standby
	case a.waits != "":
		s.State = projections.Waiting
	}
	for _, d := range a.open {
		s.Differences += len(d)
	}
	if !a.at.IsZero() {
		s.Last = a.last.Tier + " " + a.last.Key + ": " + a.last.What
	}
	return s
}

// Pacing of an audit.
const (
	auditWait     = time.Second // when it is busy, or something is away
	auditAgain    = time.Second // between looks at what differs
	auditKnown    = 1000        // streams whose differences are kept
	eventsAsCheck = 200         // a long history counts as several checks
)

// round is a walk over places, from a random one on.
type round struct {
	Places
	next int
	tier bool // of a tier's rows; else of the journal's events
}

// Run audits until ctx ends.
func (a *Auditor) Run(ctx context.Context) {
	a.mu.Lock()
	a.open = map[events.Stream][]Difference{}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.open, a.waits = nil, ""
		a.mu.Unlock()
	}()
	rounds := []*round{{Places: Revisions{Journal: a.Spot.Journal, Ends: true}, next: -1}}
	for i := range a.Spot.Tiers {
		rounds = append(rounds, &round{Places: a.Spot.Tiers[i].Places, next: -1, tier: true})
	}
	again := time.Now()
	for turn := 0; ctx.Err() == nil; turn++ {
		if a.Busy() {
			a.wait(ctx, "the engine is busy")
			continue
		}
		err := a.turn(ctx, rounds[turn%len(rounds)])
		if err == nil && time.Since(again) > auditAgain {
			err = a.again(ctx)
			again = time.Now()
		}
		if err != nil {
			a.wait(ctx, err.Error())
			continue
		}
		a.mu.Lock()
		a.waits = ""
		a.mu.Unlock()
	}
}

func (a *Auditor) wait(ctx context.Context, why string) {
	a.mu.Lock()
	a.waits = why
	a.mu.Unlock()
	_ = pause(ctx, auditWait) // the caller looks at ctx
}

// turn checks what is at the round's next place. To look there costs as much as
// a check.
func (a *Auditor) turn(ctx context.Context, r *round) error {
	if err := a.pace(ctx, 0); err != nil {
		return err
	}
	places, err := r.Places.Places(ctx)
	if err != nil || places == 0 {
		return err
	}
	if r.next < 0 {
		r.next = rand.IntN(places)
	}
	r.next = (r.next + 1) % places
	streams, err := r.At(ctx, r.next)
	if err != nil || len(streams) == 0 {
		return err
	}
	if r.tier { // the others are met in the journal
		ends, err := a.Spot.Journal.Ends(ctx, streams, history.Bound{}, history.Linearizable)
		if err != nil {
			return err
		}
		unknown := streams[:0]
		for i := range ends {
			if ends[i].Bad == nil && ends[i].Type == "" {
				unknown = append(unknown, streams[i])
			}
		}
		streams = unknown
	}
	for _, s := range streams {
		if err := a.check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// again looks whether what differed still does.
func (a *Auditor) again(ctx context.Context) error {
	a.mu.Lock()
	var known []events.Stream
	for s := range a.open {
		if known = append(known, s); len(known) == 20 { // a map begins anywhere: in time each has its turn
			break
		}
	}
	a.mu.Unlock()
	for _, s := range known {
		if err := a.check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (a *Auditor) check(ctx context.Context, s events.Stream) error {
	f, err := a.Spot.Check(ctx, s)
	if err != nil {
		return err
	}
	if f.Unsettled == "" {
		a.note(s, f.Differences)
	}
	return a.pace(ctx, f.Events)
}

func (a *Auditor) pace(ctx context.Context, events int) error {
	cost := 1 + float64(events)/eventsAsCheck
	return pause(ctx, time.Duration(cost/a.Rate*float64(time.Second)))
}

func (a *Auditor) note(s events.Stream, differences []Difference) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checked++
	before := a.open[s]
	if len(differences) == 0 {
		if delete(a.open, s); len(before) > 0 {
			a.Log.Info("what the audit found is level again", "stream", s)
		}
		return
	}
	if len(before) > 0 || len(a.open) < auditKnown {
		a.open[s] = differences
	}
	for _, d := range differences {
		if !slices.Contains(before, d) {
			a.last, a.at = d, time.Now().UTC()
			a.Log.Warn("the audit found a difference; engine verify --repair mends it", "tier", d.Tier, "key", d.Key, "what", d.What)
		}
	}
}
