package deployment

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// Sampled describes a sample.
type Sampled struct {
	Checked   int         `json:"checked"` // aggregates
	Events    int         `json:"events"`  // read for them
	Unsettled []Unsettled `json:"unsettled"`
}

// Unsettled is an aggregate that could not be judged, and why.
type Unsettled struct {
	Stream string `json:"stream"`
	Why    string `json:"why"`
}

// sampleConcurrency is how many aggregates are checked at the same time.
const sampleConcurrency = 8

// sample verifies random aggregates.
func (v *Verification) sample(ctx context.Context) (*Verified, error) {
	picked, err := verify.Pick(ctx, v.stores.Journal, v.tiers, v.Sample)
	if err != nil {
		return nil, err
	}
	spot := verify.Sampler{Journal: v.stores.Journal, Archive: v.archive, Tiers: v.tiers, Reached: v.reached()}
	found := &Verified{Sample: &Sampled{Checked: len(picked), Unsettled: []Unsettled{}}}
	found.Differences = []verify.Difference{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sampleConcurrency)
	for _, s := range picked {
		g.Go(func() error {
			f, err := spot.Check(ctx, s)
			mu.Lock()
			defer mu.Unlock()
			found.add(s, &f)
			return err
		})
	}
	err = g.Wait()
	slices.SortFunc(found.Differences, verify.Difference.Compare)
	return found, err
}

func (r *Verified) add(s events.AggregateName, f *verify.Finding) {
	r.Sample.Events += f.Events
	r.Differences = append(r.Differences, f.Differences...)
	if f.Unsettled != "" {
		r.Sample.Unsettled = append(r.Sample.Unsettled, Unsettled{string(s), f.Unsettled})
	}
}

// reached waits for a view to reach a revision. It asks the engine again only
// when the last status is not enough.
func (v *Verification) reached() func(ctx context.Context, view string, partition int, revision uint64) (bool, error) {
	var mu sync.Mutex
	until := time.Now().Add(v.Wait)
	return func(ctx context.Context, view string, partition int, revision uint64) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		for {
			for _, w := range v.views {
				if w.Name == view && w.Partition == partition && w.Position >= revision {
					return true, nil
				}
			}
			if len(v.views) > 0 && time.Now().After(until) {
				return false, nil
			}
			views, err := v.Views(ctx)
			if err != nil {
				return false, err
			}
			v.views = views
		}
	}
}
