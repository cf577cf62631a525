package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// startUpgrades rebuilds in the background the views whose rows an older build
// has written.
func (e *Engine) startUpgrades() error {
	noStep := func(rebuild.Step) {}
	upgrades := []rebuild.Upgrade{{
		View:   "hot",
		Stored: func(context.Context) (int, bool) { return e.model.hot.ViewVersion() },
		Rebuild: func(ctx context.Context) error {
			done, err := e.journal.stores.RebuildHot(ctx, e.model.hot, e.views.caughtUp("hot"), noStep)
			if err == nil && len(done.Left) > 0 {
				err = fmt.Errorf("rows that still differ: %d", len(done.Left))
			}
			if err == nil {
				err = e.model.hot.MarkRebuilt(ctx)
			}
			return err
		},
	}}
	if e.postgres.DB != nil {
		upgrades = append(upgrades, rebuild.Upgrade{
			View: "durable",
			Stored: func(ctx context.Context) (int, bool) {
				v, err := e.postgres.DB.ViewVersion(ctx, "durable")
				return v, err == nil
			},
			Rebuild: func(ctx context.Context) error {
				_, err := e.journal.stores.RebuildDurable(ctx, false, noStep)
				return err
			},
		})
	}
	for _, u := range upgrades {
		nc, err := e.nats.Connect("rebuild-" + u.View)
		if err != nil {
			return err
		}
		u.Log = e.log
		u.Rebuilding = func(on bool) { e.views.rebuilding(u.View, on) }
		u.Lock = func(ctx context.Context, run func(context.Context) error) (bool, error) {
			err := coordination.WithLock(ctx, nc, u.View, run)
			return !errors.Is(err, coordination.ErrLocked), err
		}
		e.stops.Add(lifecycle.InBackground(u.Run))
	}
	return nil
}

// caughtUpTimeout bounds the wait for a view before its rows are compared:
// a row that the view has yet to write would be restored for nothing.
const caughtUpTimeout = 3 * time.Second

// caughtUp waits until a view has what the journal has.
func (v *views) caughtUp(view string) func(ctx context.Context, heads []uint64) {
	return func(ctx context.Context, heads []uint64) {
		ctx, cancel := context.WithTimeout(ctx, caughtUpTimeout)
		defer cancel()
		for p, head := range heads {
			if progress := v.progress[view]; progress != nil {
				progress.Wait(ctx, p, head)
			}
		}
	}
}

// audit verifies a few aggregates a second in the background, in one engine at
// a time.
type audit struct {
	auditor *verify.Auditor // nil = off
	end     func(context.Context)
}

// auditLag is how long the audit waits for a view. A view that lags more pauses
// the audit, because catching up is more urgent.
const auditLag = 2 * time.Second

func startAudit(e *Engine) *audit {
	if e.cfg.AuditRate <= 0 {
		return &audit{}
	}
	stores := e.journal.stores
	sampler := verify.Sampler{
		Journal: stores.Journal, Reached: e.views.reached, Quarantined: e.quarantine.Quarantined,
		Tiers: []verify.Tier{deployment.HotTier(e.model.hot)},
	}
	if stores.DB != nil {
		sampler.Archive = stores.Archive()
		sampler.Tiers = append(sampler.Tiers, stores.DurableTier())
	}
	limit := int64(e.cfg.LimitsInFlight) / 4
	a := &verify.Auditor{
		Why:     servers.Reason,
		Sampler: sampler, Rate: e.cfg.AuditRate, Log: e.log,
		Busy: func() bool { return e.commands.handler.InFlight() > limit },
	}
	run := a.Run
	if e.views.leases != nil {
		run = func(ctx context.Context) { e.views.leases.Hold(ctx, "audit", a.Run) }
	}
	return &audit{auditor: a, end: lifecycle.InBackground(run)}
}

func (a *audit) stop(ctx context.Context) {
	if a.end != nil {
		a.end(ctx)
	}
}

// status is nil when the audit is off.
func (a *audit) status() *verify.AuditStatus {
	if a == nil || a.auditor == nil {
		return nil
	}
	s := a.auditor.Status()
	return &s
}

// reached waits for a view to reach a revision.
func (v *views) reached(ctx context.Context, view string, partition int, revision uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, auditLag)
	defer cancel()
	return v.progress[view].Wait(ctx, partition, revision), nil
}
