package main

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// reachTime is how long the audit waits for a view; one that lags makes it
// pause, for then there is more urgent work.
const reachTime = 2 * time.Second

// startAudit checks a few aggregates a second in the background, in one engine
// at a time.
func (e *engine) startAudit() {
	if e.cfg.AuditRate <= 0 {
		return
	}
	spot := verify.Sampler{Journal: e.journal, Reached: e.reached, Leaves: e.holds.Holds, Tiers: []verify.Tier{hotTier(e.hot)}}
	if e.db != nil {
		archive := archive.New(e.db, archiveView)
		spot.Archive = archive
		spot.Tiers = append(spot.Tiers, durableTier(e.db, history.Truth{Journal: e.journal, Archive: archive}))
	}
	a := &verify.Auditor{
		Spot: spot, Rate: e.cfg.AuditRate, Log: e.log,
		Busy: func() bool { return e.handler.InFlight() > int64(e.cfg.LimitsInFlight)/4 },
	}
	e.audit.Store(a)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if e.crew.leases == nil {
			a.Run(ctx)
		} else {
			e.crew.leases.Hold(ctx, "audit", a.Run)
		}
	}()
	e.onStop(func(context.Context) {
		cancel()
		<-ended
	})
}

// reached waits a moment until a view is at a revision.
func (e *engine) reached(ctx context.Context, view string, partition int, revision uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	return e.progress[view].Wait(ctx, partition, revision), nil
}

// auditStatus is nil where there is no audit.
func (e *engine) auditStatus() *verify.AuditStatus {
	a := e.audit.Load()
	if a == nil {
		return nil
	}
	s := a.Status()
	return &s
}
