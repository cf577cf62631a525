// Package rebuild folds a view again from the beginning of the history: Rebuild into a shadow
// beside the live rows, which then replaces them in one step, Reset in place by repairing the rows
// that differ.
package rebuild

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
)

// Shadow is a second generation of a view beside the live one, empty at first, with its own
// positions.
type Shadow interface {
	// Apply is as in projections.Target.
	Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error
	// Live returns the positions of the live view.
	Live(ctx context.Context) ([]uint64, error)
	// Compare stores the names of the rows in which live and shadow differ, and returns the
	// positions of the live view at that moment.
	Compare(ctx context.Context) (live []uint64, err error)
	// Swap makes the live rows equal to the shadow's.
	Swap(ctx context.Context, s Swap) (Swapped, error)
	// Check compares both digests after the swap, without the rows that since names: those written
	// after these positions.
	Check(ctx context.Context, since func(ctx context.Context) ([]RowKey, error)) (Digests, error)
	// Drop removes the shadow.
	Drop(ctx context.Context) error
}

// Swap is the input of Shadow.Swap.
type Swap struct {
	At      []uint64 // positions of the shadow
	Journal string   // the journal's incarnation
	Accept  bool     // make Journal the view's journal even if it was another one
	Version int      // of the fold
	// CompareAll: every row must be compared, because Compare did not run or the live view was
	// behind the shadow then.
	CompareAll bool
	// CatchUp applies events up to the positions to, through write, and returns the rows that may
	// have changed since Compare.
	CatchUp func(ctx context.Context, to []uint64, write apply) ([]RowKey, error)
	// Head returns the last revision of a partition.
	Head func(ctx context.Context, partition int) (uint64, error)
}

// Write is apply, exported for the implementations of Shadow.
type Write = apply

// Swapped describes what a swap has changed in the live view.
type Swapped struct {
	Position []uint64      `json:"position"` // of the view after the swap
	Rows     int           `json:"rows"`     // number of rows that differed
	Tables   []TableChange `json:"tables"`
	Keys     []RowChange   `json:"keys,omitempty"` // the first of them
	Ahead    int           `json:"ahead"`          // rows newer than the view, left unchanged
	Held     float64       `json:"held_seconds"`   // how long the view was blocked
}

// TableChange counts the rows of one kind that differed.
type TableChange struct {
	Kind     string `json:"kind"`
	Updated  int    `json:"updated"`
	Inserted int    `json:"inserted"`
	Deleted  int    `json:"deleted"`
}

// RowChange is one row that differed, and how it was changed.
type RowChange struct {
	Key  string `json:"key"` // as in verify.Difference
	What string `json:"what"`
}

// Digests are the digests of the live and the shadow generation, over the rows that were not
// written meanwhile.
type Digests struct {
	Live   string `json:"live"`
	Shadow string `json:"shadow"`
	Rows   int    `json:"rows"`
}

// Step is the progress of a rebuild.
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

// Rebuild is one rebuild of a view with a shadow: it folds the history from its beginning into the
// shadow and then makes the live rows equal to it in one step. A failure before that step leaves
// the live view unchanged.
type Rebuild struct {
	View   string
	Source history.Source // journal and archive
	Shadow Shadow         // new and empty
	Accept bool
	Step   func(Step) // called at the beginning of each step, and from time to time during it
}

// rebuildBatch is the number of events folded at a time: large batches write a frequently changed
// key once.
const rebuildBatch = 10_000

// swapLag is the lag behind the live view, in events, at which the swap may begin.
const swapLag = 1000

// Run rebuilds. After an error the live view is unchanged, unless the error says that the check
// after the swap failed.
func (r *Rebuild) Run(ctx context.Context) (*Rebuilt, error) {
	began := time.Now()
	done := &Rebuilt{View: r.View}
	f := newRefold(r.Source, rebuildBatch, nil)
	defer f.stop()
	compareAll, err := r.fold(ctx, f, done)
	if err != nil {
		return nil, err
	}
	if !compareAll {
		if compareAll, err = r.compare(ctx, f); err != nil {
			return nil, err
		}
	}
	r.Step(Step{Name: "swap"})
	done.Swapped, err = r.Shadow.Swap(ctx, r.swap(f, compareAll))
	if err != nil {
		return nil, fmt.Errorf("swap: %w", err)
	}
	// gofail: var rebuildSwapped struct{}
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

// fold applies events up to the head, then up to the live view's positions. compareAll is true
// when the live view cannot be compared before the swap.
func (r *Rebuild) fold(ctx context.Context, f *refold, done *Rebuilt) (compareAll bool, err error) {
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
		if behind(f.at, live) <= swapLag {
			return false, nil
		}
		if err := f.all(ctx, live, r.Shadow.Apply); err != nil {
			return false, fmt.Errorf("catch up: %w", err)
		}
	}
	return true, nil
}

// catchUpTimeout bounds the wait for a live view that is behind the shadow.
const catchUpTimeout = 2 * time.Second

// compare lets the shadow compare the rows while both views continue, and collects the rows that
// are written from then on. If the live view was behind the shadow at that moment, all rows must
// be compared again.
func (r *Rebuild) compare(ctx context.Context, f *refold) (compareAll bool, err error) {
	r.Step(Step{Name: "compare"})
	for until := time.Now().Add(catchUpTimeout); ; {
		live, err := r.Shadow.Live(ctx)
		if err != nil {
			return false, err
		}
		if behind(live, f.at) == 0 {
			break
		}
		if time.Now().After(until) {
			return true, nil // it does not advance: the swap applies the rest
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	f.touchedRows = map[RowKey]struct{}{}
	live, err := r.Shadow.Compare(ctx)
	return err == nil && behind(live, f.at) > 0, err
}

func (r *Rebuild) swap(f *refold, compareAll bool) Swap {
	return Swap{
		At: f.at, Journal: r.Source.ID(), Accept: r.Accept, Version: projections.Version(r.View), CompareAll: compareAll, Head: r.Source.Head,
		CatchUp: func(ctx context.Context, to []uint64, write apply) ([]RowKey, error) {
			if err := f.all(ctx, to, write); err != nil {
				return nil, err
			}
			return rowKeys(f.touchedRows), nil
		},
	}
}

// check compares live and shadow once more after the swap, independently of it.
func (r *Rebuild) check(ctx context.Context, f *refold, done *Rebuilt) (err error) {
	f.touchedRows = map[RowKey]struct{}{}
	noWrite := func(context.Context, int, uint64, uint64, projections.Changes) error { return nil }
	done.Digests, err = r.Shadow.Check(ctx, func(ctx context.Context) ([]RowKey, error) {
		heads, err := headsOf(ctx, r.Source)
		if err == nil {
			err = f.all(ctx, heads, noWrite)
		}
		return rowKeys(f.touchedRows), err
	})
	if err != nil {
		return fmt.Errorf("the rows were swapped, but the check failed: %w", err)
	}
	if done.Digests.Live != done.Digests.Shadow {
		return fmt.Errorf("the rows were swapped, but the live digest is %.16s and the shadow's %.16s: another process may have written the rows",
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

// behind returns the largest distance, in events, by which a is behind b.
func behind(a, b []uint64) (most uint64) {
	for p := range a {
		if a[p] < b[p] {
			most = max(most, b[p]-a[p])
		}
	}
	return most
}

func rowKeys(set map[RowKey]struct{}) []RowKey {
	all := make([]RowKey, 0, len(set))
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
