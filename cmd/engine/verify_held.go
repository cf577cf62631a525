package main

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/projections/verify"
)

// labelled looks, and tells the differences of aggregates that a view leaves out
// from those that nobody knows of.
func (v *verification) labelled(look func(context.Context) (*verified, error)) func(context.Context) (*verified, error) {
	return func(ctx context.Context) (*verified, error) {
		_, left, err := held(ctx, v.nc, "all") // before: what is let go meanwhile is level
		if err != nil {
			return nil, err
		}
		found, err := look(ctx)
		if err != nil {
			return nil, err
		}
		views := map[string]string{}
		for _, t := range v.tiers {
			views[t.Name] = t.View
		}
		for i := range found.Differences {
			d := &found.Differences[i]
			for _, h := range left {
				if h.Stream == d.Stream && (h.View == views[d.Tier] || d.Tier == verify.InJournal) {
					d.Quarantined = fmt.Sprintf("by view %s since revision %d: %s", h.View, h.First, h.Reason)
					break
				}
			}
		}
		return found, nil
	}
}

// mendable are the differences that a repair may set right. What a view leaves
// out stays as it is: the view would not keep the row level afterwards.
func mendable(all []verify.Difference) (some []verify.Difference) {
	for _, d := range all {
		if d.Quarantined == "" {
			some = append(some, d)
		}
	}
	return some
}

// quarantinedOf counts what is known among differences.
func quarantinedOf(all []verify.Difference) string {
	if n := len(all) - len(mendable(all)); n > 0 {
		return fmt.Sprintf(", %d of them quarantined (engine dlq list)", n)
	}
	return ""
}
