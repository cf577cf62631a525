package rebuild

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// InPlace is a rebuild of rows where they are: the journal is folded in
// memory, each row is held against the fold, and those that differ are put
// right one by one, each in one step and never over a newer one. So no reader
// or watcher ever sees less than before.
type Reset struct {
	View    string
	Journal verify.Journal
	Archive verify.Archive // nil = only an untrimmed journal can be folded
	Tiers   []verify.Tier  // whose rows are rebuilt
	Of      string         // the name of what is rebuilt in differences
	// Leaves tells of aggregates that the view leaves out; nil = of none.
	Leaves func(partition int, s events.Stream) bool
	// Level waits for the running view to have come to the heads, or for nothing.
	Level func(ctx context.Context, heads []uint64)
	Step  func(Step)
}

// Restored is the report of a rebuild in place.
type Restored struct {
	View    string      `json:"view"`
	Events  uint64      `json:"events"`
	Seconds float64     `json:"seconds"`
	Rate    float64     `json:"rate"` // events folded a second
	Rows    int         `json:"rows"` // how many differed
	Keys    []RowChange `json:"keys"` // the first of them
	Left    []RowChange `json:"left"` // what still differs: the journal does not have it
	Passes  int         `json:"passes"`
	Heads   []uint64    `json:"heads"` // every row is as the journal says up to here: before the first event that cannot be folded
}

// passes bounds how often what was restored is looked at again: something that
// is written all the time may differ by being written.
const passes = 5

// shownRows bounds the rows that a report names.
const shownRows = 20

// Run rebuilds. What it has put right stays so, however it ends.
func (r *Reset) Run(ctx context.Context) (*Restored, error) {
	began := time.Now()
	done := &Restored{View: r.View, Keys: []RowChange{}, Left: []RowChange{}}
	for before := []verify.Difference(nil); ; {
		done.Passes++
		report, wrong, err := r.look(ctx)
		if err != nil {
			return nil, err
		}
		if done.Passes == 1 {
			done.Rows, done.Keys = len(wrong), named(wrong)
			done.Events = uint64(report.Events)
			done.Rate = float64(report.Events) / time.Since(began).Seconds()
		}
		done.Heads, done.Left = foldable(report), named(wrong)
		if len(wrong) == 0 || done.Passes == passes || slices.Equal(wrong, before) {
			done.Seconds = time.Since(began).Seconds()
			return done, nil
		}
		before = wrong
		r.Step(Step{Name: "restore", Of: uint64(len(wrong))})
		if err := verify.Repair(ctx, r.Journal, r.Archive, r.Tiers, wrong); err != nil {
			return nil, err
		}
	}
}

// look folds the journal and compares.
func (r *Reset) look(ctx context.Context) (*verify.Report, []verify.Difference, error) {
	heads, err := headsOf(ctx, r.Journal)
	if err != nil {
		return nil, nil, err
	}
	step, began := Step{Name: "fold"}, time.Now()
	for _, h := range heads {
		step.Of += h
	}
	r.Step(step)
	v := verify.Verifier{Journal: r.Journal, Archive: r.Archive, Tiers: r.Tiers, RowsOnly: r.Of != verify.InArchive,
		Reached: func(ctx context.Context, heads []uint64) []verify.Difference {
			r.Level(ctx, heads)
			return nil
		},
		Step: func(n int) {
			step.Events, step.Rate = uint64(n), float64(n)/time.Since(began).Seconds()
			r.Step(step)
		},
	}
	report, err := v.Run(ctx)
	if err != nil {
		return nil, nil, err
	}
	torn := map[events.Stream]bool{}
	for _, d := range report.Differences {
		if d.Tier != r.Of && d.Revision > 0 {
			torn[d.Stream] = true // its end is not known, so nothing can be restored
		}
	}
	var wrong []verify.Difference
	for _, d := range report.Differences {
		if d.Tier == r.Of && (r.Of == verify.InArchive || !torn[d.Stream] && (r.Leaves == nil || !r.Leaves(d.Partition, d.Stream))) {
			wrong = append(wrong, d)
		}
	}
	return report, wrong, nil
}

// foldable is how far each partition goes before an event that cannot be
// folded: a view that goes on from there meets it.
func foldable(report *verify.Report) []uint64 {
	heads := slices.Clone(report.Heads)
	for _, d := range report.Differences {
		if (d.Tier == verify.InJournal || d.Tier == verify.InArchive) && d.Revision > 0 {
			heads[d.Partition] = min(heads[d.Partition], d.Revision-1)
		}
	}
	return heads
}

func named(differences []verify.Difference) []RowChange {
	n := min(len(differences), shownRows)
	keys := make([]RowChange, n)
	for i, d := range differences[:n] {
		keys[i] = RowChange{Key: d.Key, What: d.What}
	}
	return keys
}
