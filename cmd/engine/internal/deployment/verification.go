package deployment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Verification folds the journal as any client can, and compares KV, SQL and the archive
// with it.
type Verification struct {
	Wait   time.Duration // how long the views may take to reach the journal's head
	Sample int           // about how many random aggregates to check; 0 = all
	Step   func(events int)
	Views  func(context.Context) ([]projections.Status, error) // of the running engine

	nc      *nats.Conn
	stores  *Stores
	archive verify.Archive // nil = without SQL
	hot     *hotStore
	tiers   []verify.Tier
	views   []projections.Status // as last answered
}

// Verified is the result of a verification.
type Verified struct {
	verify.Report
	Declared []declared.Verified `json:"declared,omitempty"`
	Repaired []verify.Difference `json:"repaired,omitempty"`
	Sample   *Sampled            `json:"sample,omitempty"` // nil = every aggregate was verified
}

// NewVerification opens what is compared.
func NewVerification(ctx context.Context, nc *nats.Conn, stores *Stores) (*Verification, error) {
	v := &Verification{nc: nc, stores: stores, Step: func(int) {}}
	var err error
	if v.hot, err = openHot(ctx, nc, stores.Journal); err != nil {
		return nil, err
	}
	v.tiers = append(v.tiers, HotTier(v.hot.Hot))
	if stores.DB != nil {
		v.archive = stores.Archive()
		v.tiers = append(v.tiers, stores.DurableTier())
	}
	return v, nil
}

// Compare finds the differences, and labels those of quarantined aggregates.
func (v *Verification) Compare(ctx context.Context) (found *Verified, err error) {
	held, err := Quarantined(ctx, v.nc) // first: an aggregate released meanwhile is equal
	if err != nil {
		return nil, err
	}
	if v.Sample > 0 {
		found, err = v.sample(ctx)
	} else {
		found, err = v.all(ctx)
	}
	if err == nil && v.stores.DB != nil && v.Sample == 0 {
		var more []verify.Difference
		found.Declared, more, err = v.stores.verifyDeclared(ctx, v.nc, held)
		found.Differences = append(found.Differences, more...)
	}
	if err == nil {
		v.label(found.Differences, held)
	}
	return found, err
}

func (v *Verification) label(differences []verify.Difference, held []quarantine.Entry) {
	views := map[string]string{}
	for _, t := range v.tiers {
		views[t.Name] = t.View
	}
	for i := range differences {
		d := &differences[i]
		for _, h := range held {
			if h.Stream == d.Stream && (h.View == views[d.Tier] || d.Tier == verify.InJournal || h.View == durable.MessagesView) {
				d.Quarantined = fmt.Sprintf("by view %s since revision %d: %s", h.View, h.First, h.Reason)
				break
			}
		}
	}
}

// Repair rewrites the rows that differ. It leaves out quarantined aggregates, because
// their view would not keep them equal afterwards.
func (v *Verification) Repair(ctx context.Context, differences []verify.Difference) error {
	if err := v.hot.resume(ctx); err != nil {
		return err
	}
	if err := errors.Join(v.repairDeclared(ctx, differences), v.repairMessages(ctx, differences)); err != nil {
		return err
	}
	return verify.Repair(ctx, v.stores.Journal, v.archive, v.tiers, NotQuarantined(differences))
}

// repairDeclared rebuilds the declared views that differ.
func (v *Verification) repairDeclared(ctx context.Context, differences []verify.Difference) error {
	done := map[string]bool{}
	for _, d := range differences {
		name, is := strings.CutPrefix(d.Tier, declared.ViewPrefix)
		if !is || done[name] {
			continue
		}
		done[name] = true
		if _, err := v.stores.rebuildDeclared(ctx, name, false, func(rebuild.Step) {}); err != nil {
			return err
		}
	}
	return nil
}

// repairMessages folds the messages again when one differs.
func (v *Verification) repairMessages(ctx context.Context, differences []verify.Difference) error {
	if !slices.ContainsFunc(differences, func(d verify.Difference) bool {
		return strings.HasPrefix(d.Key, readmodel.KindMessage+" ")
	}) {
		return nil
	}
	_, err := v.stores.rebuildMessages(ctx, v.nc, false, func(rebuild.Step) {})
	return err
}

// NotQuarantined are the differences of aggregates that no view holds in quarantine.
func NotQuarantined(all []verify.Difference) (some []verify.Difference) {
	for _, d := range all {
		if d.Quarantined == "" {
			some = append(some, d)
		}
	}
	return some
}

// all verifies every aggregate.
func (v *Verification) all(ctx context.Context) (*Verified, error) {
	w := verify.Verifier{Journal: v.stores.Journal, Archive: v.archive, Tiers: v.tiers, Reached: v.lagging, Step: v.Step}
	report, err := w.Run(ctx)
	if err != nil {
		return nil, err
	}
	return &Verified{Report: *report}, nil
}

// lagging waits for the views to reach the heads; a view that does not is a
// difference.
func (v *Verification) lagging(ctx context.Context, heads []uint64) []verify.Difference {
	ctx, cancel := context.WithTimeout(ctx, v.Wait)
	defer cancel()
	var late []verify.Difference
	for {
		views, err := v.Views(ctx)
		if err != nil {
			return append(late, verify.Difference{Tier: "engine", What: "status: " + err.Error()})
		}
		v.views, late = views, nil
		for _, w := range views {
			if !(IsDeclared(w.Name) && strings.HasSuffix(w.Name, ".next")) && w.Position < heads[w.Partition] {
				late = append(late, verify.Difference{Tier: w.Name, Key: fmt.Sprintf("partition %d", w.Partition), Partition: w.Partition,
					What: fmt.Sprintf("the view is at %d (%s %s), the journal at %d", w.Position, w.State, w.Reason, heads[w.Partition])})
			}
		}
		if len(late) == 0 || ctx.Err() != nil {
			return late
		}
		_ = wait.Sleep(ctx, 50*time.Millisecond)
	}
}
