package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Verify folds the journal anew and holds the tiers against it. It reads only,
// and works under live writers: rows newer than where the fold began are held
// against what the journal has said meanwhile.

// Kinds of rows beside those of documents.
const (
	KindEntry    = "entry"    // a state entry
	KindConflict = "conflict" // all losing writes of one state entry, as one row
)

// kinds in the order of reports.
var kinds = [...]string{
	KindEntry, readmodel.KindTask, readmodel.KindSession, readmodel.KindConfig, readmodel.KindLifecycle, KindConflict,
}

// Tier is one read model as Verify reads it.
type Tier struct {
	Name string
	// Keeps are the kinds of rows it has, each with the age at which they may
	// be absent; 0 = never.
	Keeps map[string]time.Duration
	// Evicts: the entries of an agent that is not active may be absent.
	Evicts bool
	// Each yields every row; losing writes one by one, in their order.
	Each func(ctx context.Context, yield func(Row)) error
}

// Difference is one thing that is not as the journal says.
type Difference struct {
	Tier string `json:"tier"` // "journal", "kv", "sql"
	Key  string `json:"key"`  // "<agent>.<key>" of an entry, "<kind> <name>" of others, or the stream
	What string `json:"what"` // what each side says
}

// Counts is what Verify found among some rows.
type Counts struct {
	Rows        int `json:"rows"`
	Equal       int `json:"equal"`
	Newer       int `json:"newer"`   // written meanwhile, and equal to what the journal says of them
	Expired     int `json:"expired"` // absent, older than the tier's TTL or evicted with their agent
	Differences int `json:"differences"`
}

func (c *Counts) add(o *Counts) {
	c.Rows += o.Rows
	c.Equal += o.Equal
	c.Newer += o.Newer
	c.Expired += o.Expired
	c.Differences += o.Differences
}

// KindReport is what Verify found in one tier among rows of one kind.
type KindReport struct {
	Kind string `json:"kind"`
	Counts
}

// TierReport is what Verify found in one tier.
type TierReport struct {
	Name string `json:"name"`
	Counts
	Digest string       `json:"digest"` // of its state entries
	Kinds  []KindReport `json:"kinds"`
}

// Report is what Verify found.
type Report struct {
	Events      int            `json:"events"`
	Aggregates  int            `json:"aggregates"`
	Entries     int            `json:"entries"` // living state entries
	Living      map[string]int `json:"living"`  // rows of the fold by kind
	Heads       []uint64       `json:"heads"`
	Digest      string         `json:"digest"` // of the entries' fold, comparable with the tiers' when nothing is written meanwhile
	Tiers       []TierReport   `json:"tiers"`
	Differences []Difference   `json:"differences"`
}

// OK tells whether everything is as the journal says.
func (r *Report) OK() bool { return len(r.Differences) == 0 }

// Verifier is one verification.
type Verifier struct {
	Source Source
	Tiers  []Tier
	// Reached waits until the tiers have come to the heads, or says which has
	// not; it is called once, between the fold and the tiers.
	Reached func(ctx context.Context, heads []uint64) []Difference
	// Step is told how far the fold is, now and then.
	Step func(events int)

	report  Report
	chains  map[events.Stream]link
	rows    map[rowKey]mark   // at the heads
	later   map[rowKey][]mark // after the heads
	losses  map[rowKey]mark   // of all losing writes so far
	away    map[string]bool   // agents that are, or meanwhile were, not active
	cursors []Cursor
}

// Run verifies.
func (v *Verifier) Run(ctx context.Context) (*Report, error) {
	v.chains, v.away = map[events.Stream]link{}, map[string]bool{}
	v.rows, v.later, v.losses = map[rowKey]mark{}, map[rowKey][]mark{}, map[rowKey]mark{}
	v.report.Differences = []Difference{}
	defer func() {
		for _, c := range v.cursors {
			c.Stop()
		}
	}()
	heads, err := v.heads(ctx)
	if err != nil {
		return nil, err
	}
	v.report.Heads = heads
	for p, head := range heads {
		cur, err := v.Source.Read(ctx, p, 0)
		if err != nil {
			return nil, err
		}
		v.cursors = append(v.cursors, cur)
		if err := v.fold(ctx, p, 0, head, v.keep); err != nil {
			return nil, err
		}
	}
	v.report.Aggregates = len(v.chains)
	v.report.Living = living(v.rows)
	v.report.Entries, v.report.Digest = v.report.Living[KindEntry], digestOf(v.rows)
	if v.Reached != nil {
		v.report.Differences = append(v.report.Differences, v.Reached(ctx, heads)...)
	}
	if err := v.compare(ctx, heads); err != nil {
		return nil, err
	}
	return &v.report, nil
}

func (v *Verifier) heads(ctx context.Context) ([]uint64, error) {
	heads := make([]uint64, v.Source.Partitions())
	for p := range heads {
		var err error
		if heads[p], err = v.Source.Head(ctx, p); err != nil {
			return nil, err
		}
	}
	return heads, nil
}

func (v *Verifier) differ(tier, key, format string, args ...any) {
	v.report.Differences = append(v.report.Differences, Difference{Tier: tier, Key: key, What: fmt.Sprintf(format, args...)})
}
