package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/projections"
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

// Run implements the command.
func (c *Verify) Run(ctx context.Context, out *Output) error {
	connect := c.ConnectArea
	if c.Repair { // only the engine may write some of the buckets
		connect = c.ConnectOperator
	}
	nc, err := connect(ctx, "verify")
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
	v, err := deployment.NewVerification(ctx, nc, stores)
	if err != nil {
		return err
	}
	v.Wait, v.Sample = c.Wait, c.Sample
	v.Views = func(ctx context.Context) ([]projections.Status, error) {
		s, _, err := c.Status(ctx, nc)
		return s.Views, err
	}
	if c.Repair {
		c.SubjectPrefix = s.Prefix
		recordAct(ctx, nc, &c.Target, "verify", "and repair")
	}
	return c.run(ctx, v, out)
}

// run compares, and with --repair repairs and compares again.
func (c *Verify) run(ctx context.Context, v *deployment.Verification, out *Output) error {
	compare := func() (*deployment.Verified, error) {
		if c.Sample > 0 {
			return v.Compare(ctx)
		}
		bar := NewProgress(-1, "events", "events")
		defer bar.End()
		v.Step = bar.Set
		return v.Compare(ctx)
	}
	found, err := compare()
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if c.Repair && len(found.Differences) > 0 {
		before := found.Differences
		if err := v.Repair(ctx, before); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		if found, err = compare(); err != nil {
			return fmt.Errorf("verify after the repair: %w", err)
		}
		found.Repaired = without(before, found.Differences)
	}
	return c.print(out, found)
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
