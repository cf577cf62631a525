package rebuild

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
)

// A rebuild folds a view anew from the journal's beginning into a shadow
// generation beside the live one, and then makes the live rows equal to it in
// one step. Whatever ends it before that step leaves the live view untouched.

// Shadow is a generation of a view beside the live one, empty at first, with
// positions of its own.
type Shadow interface {
	// Apply is as Target's.
	Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error
	// Live is where the live view is.
	Live(ctx context.Context) ([]uint64, error)
	// Compare notes the rows in which live and shadow differ, and tells where
	// the live view was at that moment.
	Compare(ctx context.Context) (live []uint64, err error)
	// Swap makes the live rows equal to the shadow's.
	Swap(ctx context.Context, s Swap) (Swapped, error)
	// Check compares both digests after the swap, leaving out the places that
	// since names: what was written after those positions.
	Check(ctx context.Context, since func(ctx context.Context) ([]Place, error)) (Digests, error)
	// Drop removes the shadow.
	Drop(ctx context.Context) error
}

// Swap is what a shadow needs to know for its one step.
type Swap struct {
	At      []uint64 // where the shadow is
	Journal string   // the journal's incarnation
	Accept  bool     // make it the view's journal, whichever that was
	Version int      // of the fold
	// Whole: every row must be compared, for the view was not compared before,
	// or not beyond the shadow.
	Whole bool
	// Bring takes the shadow on to a revision, through write, and returns the
	// places whose rows may have changed since Compare.
	Bring func(ctx context.Context, to []uint64, write apply) ([]Place, error)
	// Head is the end of a partition.
	Head func(ctx context.Context, partition int) (uint64, error)
}

// Write is the form of Swap's write, for other packages.
type Write = apply

// Swapped is what a swap has changed in the live view.
type Swapped struct {
	Position []uint64      `json:"position"` // where the view is now
	Rows     int           `json:"rows"`     // how many differed
	Tables   []TableChange `json:"tables"`
	Keys     []RowChange   `json:"keys,omitempty"` // the first of them
	Ahead    int           `json:"ahead"`          // rows newer than the view, left alone
	Held     float64       `json:"held_seconds"`   // how long the view could not move on
}

// TableChange counts the rows of one kind that differed.
type TableChange struct {
	Kind     string `json:"kind"`
	Updated  int    `json:"updated"`
	Inserted int    `json:"inserted"`
	Deleted  int    `json:"deleted"`
}

// RowChange is one row that differed and what was done.
type RowChange struct {
	Key  string `json:"key"` // as in Difference
	What string `json:"what"`
}

// Digests are those of the live and the shadow generation, over the rows that
// nothing was written to meanwhile.
type Digests struct {
	Live   string `json:"live"`
	Shadow string `json:"shadow"`
	Rows   int    `json:"rows"`
}

// Step is how far a rebuild is.
type Step struct {
	Name   string  `json:"step"` // begin, fold, catchup, compare, swap, check, drop
	Events uint64  `json:"events,omitzero"`
	Of     uint64  `json:"of,omitzero"`
	Rate   float64 `json:"rate,omitzero"` // events a second
}

// Rebuilt is the report of a rebuild.
type Rebuilt struct {
	View    string  `json:"view"`
	Events  uint64  `json:"events"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"`
	Swapped
	Digests Digests `json:"digests"`
}

// Rebuild is one rebuild of a view with a shadow.
type Rebuild struct {
	View   string
	Source history.Source // the whole journal
	Shadow Shadow         // just made
	Accept bool
	Step   func(Step) // told at the beginning of each step, and now and then
}

// rebuildBatch is how many events are folded at a time: keys that are written
// often then cost one row each.
const rebuildBatch = 10_000

// near is how far the shadow may be behind the live view when the swap begins.
const near = 1000

// Run rebuilds. An error leaves the live view as it was, unless it says that
// the check after the swap failed.
func (r *Rebuild) Run(ctx context.Context) (*Rebuilt, error) {
	began := time.Now()
	done := &Rebuilt{View: r.View}
	f := newRefold(r.Source, rebuildBatch, nil)
	defer f.stop()
	whole, err := r.fold(ctx, f, done)
	if err != nil {
		return nil, err
	}
	if !whole {
		if whole, err = r.compare(ctx, f); err != nil {
			return nil, err
		}
	}
	r.Step(Step{Name: "swap"})
	done.Swapped, err = r.Shadow.Swap(ctx, r.swap(f, whole))
	if err != nil {
		return nil, fmt.Errorf("swap: %w", err)
	}
	r.Step(Step{Name: "check"})
	if err := r.check(ctx, f, done); err != nil {
		return nil, err
	}
	r.Step(Step{Name: "drop"})
	if err := r.Shadow.Drop(ctx); err != nil {
		return nil, err
	}
	done.Seconds = time.Since(began).Seconds()
	return done, nil
}

// fold brings the shadow to the head, then to where the live view is. It tells
// whether the live view is of no use to be compared with beforehand.
func (r *Rebuild) fold(ctx context.Context, f *refold, done *Rebuilt) (whole bool, err error) {
	heads, err := headsOf(ctx, r.Source)
	if err != nil {
		return false, err
	}
	step := Step{Name: "fold"}
	for _, h := range heads {
		step.Of += h
	}
	r.Step(step)
	began := time.Now()
	f.step = func(n uint64) {
		step.Events += n
		step.Rate = float64(step.Events) / time.Since(began).Seconds()
		r.Step(step)
	}
	if err := f.all(ctx, heads, r.Shadow.Apply); err != nil {
		return false, fmt.Errorf("fold: %w", err)
	}
	done.Events, done.Rate = step.Events, step.Rate
	f.step = nil
	r.Step(Step{Name: "catchup"})
	for !r.Accept {
		live, err := r.Shadow.Live(ctx)
		if err != nil {
			return false, err
		}
		if live == nil {
			return true, nil
		}
		if behind(f.at, live) <= near {
			return false, nil
		}
		if err := f.all(ctx, live, r.Shadow.Apply); err != nil {
			return false, fmt.Errorf("catch up: %w", err)
		}
	}
	return true, nil
}

// levelTime bounds the wait for a live view that is behind the shadow.
const levelTime = 2 * time.Second

// compare lets live and shadow be compared while both go on, and collects from
// there what is written. A live view that was behind the shadow at that moment
// must be compared anew.
func (r *Rebuild) compare(ctx context.Context, f *refold) (whole bool, err error) {
	r.Step(Step{Name: "compare"})
	for until := time.Now().Add(levelTime); ; {
		live, err := r.Shadow.Live(ctx)
		if err != nil {
			return false, err
		}
		if behind(live, f.at) == 0 {
			break
		}
		if time.Now().After(until) {
			return true, nil // it does not move: the swap takes it on
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	f.touched = map[Place]struct{}{}
	live, err := r.Shadow.Compare(ctx)
	return err == nil && behind(live, f.at) > 0, err
}

func (r *Rebuild) swap(f *refold, whole bool) Swap {
	return Swap{
		At: f.at, Journal: r.Source.ID(), Accept: r.Accept, Version: projections.Version(r.View), Whole: whole, Head: r.Source.Head,
		Bring: func(ctx context.Context, to []uint64, write apply) ([]Place, error) {
			if err := f.all(ctx, to, write); err != nil {
				return nil, err
			}
			return places(f.touched), nil
		},
	}
}

// check holds live and shadow against each other once more: an independent
// proof that the swap did what it promised.
func (r *Rebuild) check(ctx context.Context, f *refold, done *Rebuilt) (err error) {
	f.touched = map[Place]struct{}{}
	nothing := func(context.Context, int, uint64, uint64, projections.Changes) error { return nil }
	done.Digests, err = r.Shadow.Check(ctx, func(ctx context.Context) ([]Place, error) {
		heads, err := headsOf(ctx, r.Source)
		if err == nil {
			err = f.all(ctx, heads, nothing)
		}
		return places(f.touched), err
	})
	if err != nil {
		return fmt.Errorf("the rows were swapped, but could not be checked: %w", err)
	}
	if done.Digests.Live != done.Digests.Shadow {
		return fmt.Errorf("the rows were swapped, but the live digest is %.16s and the shadow's %.16s: did somebody else write them?",
			done.Digests.Live, done.Digests.Shadow)
	}
	return nil
}

func (f *refold) all(ctx context.Context, to []uint64, write apply) error {
	for p := range f.at {
		if err := f.upTo(ctx, p, to[p], write); err != nil {
			return err
		}
	}
	return nil
}

// behind is by how much a is behind b where it is most.
func behind(a, b []uint64) (most uint64) {
	for p := range a {
		if a[p] < b[p] {
			most = max(most, b[p]-a[p])
		}
	}
	return most
}

func places(set map[Place]struct{}) []Place {
	all := make([]Place, 0, len(set))
	for p := range set {
		all = append(all, p)
	}
	return all
}

func headsOf(ctx context.Context, src interface {
	Partitions() int
	Head(ctx context.Context, partition int) (uint64, error)
}) ([]uint64, error) {
	heads := make([]uint64, src.Partitions())
	for p := range heads {
		var err error
		if heads[p], err = src.Head(ctx, p); err != nil {
			return nil, err
		}
	}
	return heads, nil
}
