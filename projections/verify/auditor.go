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

// Auditor checks one aggregate after the other without end: those of the journal, each where its
// last event lies, and rows of the tiers that the journal does not have. It only reports; `engine
// verify --repair` repairs.
type Auditor struct {
	Sampler Sampler
	Rate    float64 // checks a second
	// Busy reports more urgent work; the audit waits.
	Busy func() bool
	Why  func(error) string // what the status says of an error
	Log  *slog.Logger

	mu      sync.Mutex
	checked int64
	checkAt time.Time
	open    map[events.AggregateName][]Difference // differences that persist
	last    Difference
	at      time.Time
	waits   string // why the audit waits
}

// AuditStatus is the state of an auditor.
type AuditStatus struct {
	State       string    `json:"state"` // running, standby, waiting
	Reason      string    `json:"reason,omitempty"`
	Checked     int64     `json:"checked"`              // aggregates, since the engine's start
	Verified    time.Time `json:"verified_at,omitzero"` // when the last of them was checked
	Differences int       `json:"differences"`          // that persist now
	Last        string    `json:"last_difference,omitempty"`
	At          time.Time `json:"at,omitzero"` // when the last difference was found
}

// Status returns the progress of the audit.
func (a *Auditor) Status() AuditStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := AuditStatus{State: projections.Running, Reason: a.waits, Checked: a.checked, Verified: a.checkAt, At: a.at}
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
	auditWait       = time.Second // when the engine is busy or a store is unavailable
	recheckInterval = time.Second // between checks of known differences
	auditKnown      = 1000        // most streams whose differences are kept
	eventsAsCheck   = 200         // this many events cost one check
)

// chunkWalk visits chunks in a cycle from a random one on.
type chunkWalk struct {
	Chunks
	next int  // -1 = not started
	tier bool // a tier's rows; else the journal's events
}

// Run audits until ctx ends.
func (a *Auditor) Run(ctx context.Context) {
	a.mu.Lock()
	a.open = map[events.AggregateName][]Difference{}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.open, a.waits = nil, ""
		a.mu.Unlock()
	}()
	rounds := []*chunkWalk{{Chunks: Revisions{Journal: a.Sampler.Journal, Ends: true}, next: -1}}
	for i := range a.Sampler.Tiers {
		rounds = append(rounds, &chunkWalk{Chunks: a.Sampler.Tiers[i].Chunks, next: -1, tier: true})
	}
	again := time.Now()
	for turn := 0; ctx.Err() == nil; turn++ {
		if a.Busy() {
			a.wait(ctx, "the engine is busy")
			continue
		}
		err := a.checkChunk(ctx, rounds[turn%len(rounds)])
		if err == nil && time.Since(again) > recheckInterval {
			err = a.recheck(ctx)
			again = time.Now()
		}
		if err != nil {
			a.wait(ctx, a.Why(err))
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
	_ = pause(ctx, auditWait) // the caller checks ctx
}

// checkChunk checks the aggregates of the next chunk. Reading the chunk costs as much as a check.
func (a *Auditor) checkChunk(ctx context.Context, r *chunkWalk) error {
	if err := a.pace(ctx, 0); err != nil {
		return err
	}
	places, err := r.Chunks.Chunks(ctx)
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
	if r.tier { // aggregates of the journal are checked there
		ends, err := a.Sampler.Journal.Ends(ctx, streams, history.Bound{}, history.Linearizable)
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

// recheck checks known differences again.
func (a *Auditor) recheck(ctx context.Context) error {
	a.mu.Lock()
	var known []events.AggregateName
	for s := range a.open {
		if known = append(known, s); len(known) == 20 { // map order is random: every one is checked in time
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

func (a *Auditor) check(ctx context.Context, s events.AggregateName) error {
	f, err := a.Sampler.Check(ctx, s)
	if err != nil {
		return err
	}
	if f.Unsettled == "" {
		a.record(s, f.Differences)
	}
	return a.pace(ctx, f.Events)
}

func (a *Auditor) pace(ctx context.Context, events int) error {
	cost := 1 + float64(events)/eventsAsCheck
	return pause(ctx, time.Duration(cost/a.Rate*float64(time.Second)))
}

func (a *Auditor) record(s events.AggregateName, differences []Difference) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checked++
	a.checkAt = time.Now()
	before := a.open[s]
	if len(differences) == 0 {
		if delete(a.open, s); len(before) > 0 {
			a.Log.Info("a difference that the audit found is gone", "stream", s)
		}
		return
	}
	if len(before) > 0 || len(a.open) < auditKnown {
		a.open[s] = differences
	}
	for _, d := range differences {
		if !slices.Contains(before, d) {
			a.last, a.at = d, time.Now().UTC()
			a.Log.Warn("the audit found a difference; engine verify --repair repairs it", "tier", d.Tier, "key", d.Key, "what", d.What)
		}
	}
}
