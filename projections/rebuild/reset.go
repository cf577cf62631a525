package rebuild

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// Reset rebuilds rows in place: it folds the journal in memory, compares each row with the fold,
// and repairs the rows that differ one by one, each in one step and never over a newer row.
// Readers and watchers never see fewer rows than before.
type Reset struct {
	View    string
	Journal verify.Journal
	Archive verify.Archive // nil = the journal must not be trimmed
	Tiers   []verify.Tier  // whose rows are rebuilt
	Of      string         // the tier's name in differences
	// Quarantined reports aggregates that the view has quarantined; nil = none.
	Quarantined func(partition int, s events.AggregateName) bool
	// WaitCaughtUp waits until the running view has reached the heads, or returns at once when no
	// view runs.
	WaitCaughtUp func(ctx context.Context, heads []uint64)
	Step         func(Step)
}

// ResetReport is the report of a Reset.
type ResetReport struct {
	View    string      `json:"view"`
	Events  uint64      `json:"events"`
	Seconds float64     `json:"seconds"`
	Rate    float64     `json:"rate"` // events folded a second
	Rows    int         `json:"rows"` // number of rows that differed
	Keys    []RowChange `json:"keys"` // the first of them
	Left    []RowChange `json:"left"` // rows that still differ: not in the journal
	Passes  int         `json:"passes"`
	Heads   []uint64    `json:"heads"` // the rows match the journal up to here, which is before the first event that cannot be folded
}

// maxPasses bounds the comparisons of one Reset: rows that are written continuously may differ in
// each.
const maxPasses = 5

// shownRows bounds the rows that a report names.
const shownRows = 20

// Run rebuilds. Repaired rows stay repaired, also after an error.
func (r *Reset) Run(ctx context.Context) (*ResetReport, error) {
	began := time.Now()
	done := &ResetReport{View: r.View, Keys: []RowChange{}, Left: []RowChange{}}
	for before := []verify.Difference(nil); ; {
		done.Passes++
		report, differing, err := r.compare(ctx)
		if err != nil {
			return nil, err
		}
		if done.Passes == 1 {
			done.Rows, done.Keys = len(differing), rowChanges(differing)
			done.Events = uint64(report.Events)
			done.Rate = float64(report.Events) / time.Since(began).Seconds()
		}
		done.Heads, done.Left = foldableHeads(report), rowChanges(differing)
		if len(differing) == 0 || done.Passes == maxPasses || slices.Equal(differing, before) {
			done.Seconds = time.Since(began).Seconds()
			return done, nil
		}
		before = differing
		r.Step(Step{Name: "restore", Of: uint64(len(differing))})
		if err := verify.Repair(ctx, r.Journal, r.Archive, r.Tiers, differing); err != nil {
			return nil, err
		}
	}
}

// compare folds the journal and compares the rows with it.
func (r *Reset) compare(ctx context.Context) (*verify.Report, []verify.Difference, error) {
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
			r.WaitCaughtUp(ctx, heads)
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
	unreadable := map[events.AggregateName]bool{}
	for _, d := range report.Differences {
		if d.Tier != r.Of && d.Revision > 0 {
			unreadable[d.Stream] = true // its last event is unknown, so its rows cannot be restored
		}
	}
	var differing []verify.Difference
	for _, d := range report.Differences {
		if d.Tier == r.Of && (r.Of == verify.InArchive || !unreadable[d.Stream] && (r.Quarantined == nil || !r.Quarantined(d.Partition, d.Stream))) {
			differing = append(differing, d)
		}
	}
	return report, differing, nil
}

// foldableHeads returns how far each partition goes before an event that cannot be folded: a view
// that continues from there reads that event.
func foldableHeads(report *verify.Report) []uint64 {
	heads := slices.Clone(report.Heads)
	for _, d := range report.Differences {
		if (d.Tier == verify.InJournal || d.Tier == verify.InArchive) && d.Revision > 0 {
			heads[d.Partition] = min(heads[d.Partition], d.Revision-1)
		}
	}
	return heads
}

func rowChanges(differences []verify.Difference) []RowChange {
	n := min(len(differences), shownRows)
	keys := make([]RowChange, n)
	for i, d := range differences[:n] {
		keys[i] = RowChange{Key: d.Key, What: d.What}
	}
	return keys
}
