package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// Verify folds the journal as any client can, and compares KV, SQL and the
// archive with it.
type Verify struct {
	deployment.Target
	Postgres string        `help:"Postgres; default: as in the engine's status." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	Wait     time.Duration `help:"How long the views may take to reach the journal's head." default:"30s"`
	Repair   bool          `help:"Rewrite the rows that differ from the journal, and verify again."`
	Sample   int           `help:"Check about N random aggregates instead of all." placeholder:"N"`
	Show     int           `help:"Differences to print." default:"20"`
	Keys     keys.Source   `embed:""`
}

// Validate refuses negative numbers.
func (c *Verify) Validate() error {
	if c.Sample < 0 || c.Show < 0 || c.Wait < 0 {
		return errors.New("--sample, --show and --wait must not be negative")
	}
	return nil
}

// verification is one run of the command.
type verification struct {
	*Verify
	nc      *nats.Conn
	stores  *deployment.Stores
	archive verify.Archive // nil = without SQL
	hot     *deployment.HotStore
	tiers   []verify.Tier
	views   []projections.Status // of the last status
}

// Run implements the command.
func (c *Verify) Run(ctx context.Context, out *Output) error {
	connect := c.ConnectStores
	if c.Repair { // only the engine may write some of the buckets
		connect = func() (*nats.Conn, error) { return c.ConnectOperator(ctx) }
	}
	nc, err := connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	s, _, err := c.Status(ctx, nc)
	if err != nil {
		return err
	}
	stores, err := deployment.OpenStores(ctx, nc, &s, c.Postgres, &c.Keys)
	if err != nil {
		return err
	}
	defer stores.Close()
	v := &verification{Verify: c, nc: nc, stores: stores}
	if v.hot, err = deployment.OpenHot(ctx, nc, stores.Journal); err != nil {
		return err
	}
	v.tiers = append(v.tiers, deployment.HotTier(v.hot.Hot))
	if stores.DB != nil {
		v.archive = stores.Archive()
		v.tiers = append(v.tiers, stores.DurableTier())
	}
	return v.run(ctx, out)
}

// run compares, and with --repair repairs and compares again.
func (v *verification) run(ctx context.Context, out *Output) error {
	found, err := v.compare(ctx)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if v.Repair && len(found.Differences) > 0 {
		before := found.Differences
		if err := v.repair(ctx, before); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		if found, err = v.compare(ctx); err != nil {
			return fmt.Errorf("verify after the repair: %w", err)
		}
		found.Repaired = without(before, found.Differences)
	}
	return v.print(out, found)
}

// compare finds the differences, and labels those of quarantined aggregates.
func (v *verification) compare(ctx context.Context) (found *verified, err error) {
	held, err := deployment.Quarantined(ctx, v.nc) // first: an aggregate released meanwhile is equal
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
		found.Declared, more, err = v.stores.VerifyDeclared(ctx, v.nc, held)
		found.Differences = append(found.Differences, more...)
	}
	if err == nil {
		v.label(found.Differences, held)
	}
	return found, err
}

func (v *verification) label(differences []verify.Difference, held []quarantine.Entry) {
	views := map[string]string{}
	for _, t := range v.tiers {
		views[t.Name] = t.View
	}
	for i := range differences {
		d := &differences[i]
		for _, h := range held {
			if h.Stream == d.Stream && (h.View == views[d.Tier] || d.Tier == verify.InJournal) {
				d.Quarantined = fmt.Sprintf("by view %s since revision %d: %s", h.View, h.First, h.Reason)
				break
			}
		}
	}
}

// repair rewrites the rows that differ. It leaves out quarantined aggregates,
// because their view would not keep them equal afterwards.
func (v *verification) repair(ctx context.Context, differences []verify.Difference) error {
	if err := v.hot.Resume(ctx); err != nil {
		return err
	}
	if err := v.repairDeclared(ctx, differences); err != nil {
		return err
	}
	return verify.Repair(ctx, v.stores.Journal, v.archive, v.tiers, notQuarantined(differences))
}

// repairDeclared rebuilds the declared views that differ.
func (v *verification) repairDeclared(ctx context.Context, differences []verify.Difference) error {
	done := map[string]bool{}
	for _, d := range differences {
		name, is := strings.CutPrefix(d.Tier, declared.ViewPrefix)
		if !is || done[name] {
			continue
		}
		done[name] = true
		if _, err := v.stores.RebuildDeclared(ctx, name, false, func(rebuild.Step) {}); err != nil {
			return err
		}
	}
	return nil
}

func notQuarantined(all []verify.Difference) (some []verify.Difference) {
	for _, d := range all {
		if d.Quarantined == "" {
			some = append(some, d)
		}
	}
	return some
}

// without are the differences before that are not among those after.
func without(before, after []verify.Difference) []verify.Difference {
	type row struct {
		tier, key string
		revision  uint64
	}
	left := map[row]bool{}
	for _, d := range after {
		left[row{d.Tier, d.Key, d.Revision}] = true
	}
	gone := []verify.Difference{}
	for _, d := range before {
		if !left[row{d.Tier, d.Key, d.Revision}] {
			gone = append(gone, d)
		}
	}
	return gone
}

// all verifies every aggregate.
func (v *verification) all(ctx context.Context) (*verified, error) {
	w := verify.Verifier{Journal: v.stores.Journal, Archive: v.archive, Tiers: v.tiers, Reached: v.lagging}
	bar := NewProgress(-1, "events")
	defer bar.End()
	w.Step = bar.Set
	report, err := w.Run(ctx)
	if err != nil {
		return nil, err
	}
	return &verified{Report: *report}, nil
}

// lagging waits for the views to reach the heads; a view that does not is a
// difference.
func (v *verification) lagging(ctx context.Context, heads []uint64) []verify.Difference {
	ctx, cancel := context.WithTimeout(ctx, v.Wait)
	defer cancel()
	var late []verify.Difference
	for {
		s, _, err := v.Status(ctx, v.nc)
		if err != nil {
			return append(late, verify.Difference{Tier: "engine", What: "status: " + err.Error()})
		}
		v.views, late = s.Views, nil
		for _, w := range s.Views {
			if !(isDeclared(w.Name) && strings.HasSuffix(w.Name, ".next")) && w.Position < heads[w.Partition] {
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
