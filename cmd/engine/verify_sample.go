package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// sampled is what a sample was.
type sampled struct {
	Checked   int         `json:"checked"` // aggregates
	Events    int         `json:"events"`  // read for them
	Unsettled []unsettled `json:"unsettled"`
}

// unsettled is an aggregate that could not be judged.
type unsettled struct {
	Stream string `json:"stream"`
	Why    string `json:"why"`
}

// samplesAtOnce is how many aggregates are checked at a time.
const samplesAtOnce = 8

// sample checks aggregates picked at random.
func (v *verification) sample(ctx context.Context) (*verified, error) {
	picked, err := verify.Pick(ctx, v.journal, v.tiers, v.Sample)
	if err != nil {
		return nil, err
	}
	spot := verify.Sampler{Journal: v.journal, Archive: v.archive, Tiers: v.tiers, Reached: v.waits()}
	found := &verified{Sample: &sampled{Checked: len(picked), Unsettled: []unsettled{}}}
	found.Differences = []verify.Difference{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(samplesAtOnce)
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

func (r *verified) add(s events.Stream, f *verify.Finding) {
	r.Sample.Events += f.Events
	r.Differences = append(r.Differences, f.Differences...)
	if f.Unsettled != "" {
		r.Sample.Unsettled = append(r.Sample.Unsettled, unsettled{string(s), f.Unsettled})
	}
}

// waits tells whether a view has come to a revision, waiting for it; the
// engine is asked only where what it last said does not do.
func (v *verification) waits() func(ctx context.Context, view string, partition int, revision uint64) (bool, error) {
	var mu sync.Mutex
	until := time.Now().Add(v.Wait)
	return func(ctx context.Context, view string, partition int, revision uint64) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		for {
			for _, w := range v.known {
				if w.Name == view && w.Partition == partition && w.Position >= revision {
					return true, nil
				}
			}
			if len(v.known) > 0 && time.Now().After(until) {
				return false, nil
			}
			s, _, err := askStatus(ctx, v.nc, &v.target)
			if err != nil {
				return false, err
			}
			v.known = s.Views
		}
	}
}
