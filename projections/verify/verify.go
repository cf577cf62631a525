package verify

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// kinds in the order of reports.
var kinds = [...]string{
	readmodel.KindEntry, readmodel.KindTask, readmodel.KindSession, readmodel.KindConfig, readmodel.KindLifecycle, readmodel.KindConflict,
}

// Tier is one read model as Verify reads it, and mends it.
type Tier struct {
	Name string
	View string // whose rows they are
	// Keeps are the kinds of rows it has, each with the age at which they may
	// be absent; 0 = never.
	Keeps map[string]time.Duration
	// Evicts: the entries of an agent that is not active may be absent.
	Evicts bool
	// Each yields every row; losing writes one by one, in their order.
	Each func(ctx context.Context, yield func(Row)) error
	// Of yields the rows of one stream, in the same form.
	Of func(ctx context.Context, s events.Stream, yield func(Row)) error
	// Restore makes the rows of streams what the journal says, whatever is there.
	Restore func(ctx context.Context, streams []events.Stream) error
	// Places are where its rows can be met without knowing their names.
	Places Places
}

// Names of what is held against each other beside the tiers.
const (
	InJournal = "journal"
	InArchive = "archive"
)

// Difference is one thing that is not as the journal says.
type Difference struct {
	Tier string `json:"tier"` // "journal", "archive", "kv", "sql", or a view that is late
	Key  string `json:"key"`  // "<agent>.<key>" of an entry, "<kind> <name>" of others, or the stream
	What string `json:"what"` // what each side says

	Stream    events.Stream `json:"stream,omitempty"` // whose row or event it is
	Partition int           `json:"partition"`
	Revision  uint64        `json:"revision,omitempty"` // of the event

	// Quarantined is why the view leaves the aggregate out: the difference is
	// known, and engine dlq is the way to mend it; empty = it does not.
	Quarantined string `json:"quarantined,omitempty"`
}

// Compare orders differences by tier, key and revision.
func (d Difference) Compare(o Difference) int {
	return cmp.Or(cmp.Compare(d.Tier, o.Tier), cmp.Compare(d.Key, o.Key), cmp.Compare(d.Revision, o.Revision))
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
	Digest      string         `json:"digest"`            // of the entries' fold, comparable with the tiers' when nothing is written meanwhile
	Archive     *Counts        `json:"archive,omitempty"` // archived events against the journal's
	Tiers       []TierReport   `json:"tiers"`
	Differences []Difference   `json:"differences"`
}

// OK tells whether everything is as the journal says.
func (r *Report) OK() bool { return len(r.Differences) == 0 }

// Verifier is one verification.
type Verifier struct {
	Journal Journal
	Archive Archive // nil = without SQL
	Tiers   []Tier
	// Reached waits until the views have come to the heads, or says which has
	// not; it is called once, before anything is compared.
	Reached func(ctx context.Context, heads []uint64) []Difference
	// Step is told how far the fold is, now and then.
	Step func(events int)
	// RowsOnly leaves the chains of digests alone, which cost more than all else.
	RowsOnly bool

	report Report
	chains map[events.Stream]link
	rows   map[rowKey]mark   // at the heads
	later  map[rowKey][]mark // after the heads
	losses map[rowKey]mark   // of all losing writes so far
	away   map[string]bool   // agents that are, or meanwhile were, not active
}

func (v *Verifier) begin() {
	v.report = Report{Differences: []Difference{}}
	v.chains, v.away = map[events.Stream]link{}, map[string]bool{}
	v.rows, v.later, v.losses = map[rowKey]mark{}, map[rowKey][]mark{}, map[rowKey]mark{}
}

// Run verifies.
func (v *Verifier) Run(ctx context.Context) (*Report, error) {
	v.begin()
	heads, err := v.heads(ctx)
	if err != nil {
		return nil, err
	}
	v.report.Heads = heads
	if v.Reached != nil {
		v.report.Differences = append(v.report.Differences, v.Reached(ctx, heads)...)
	}
	for p, head := range heads {
		if err := v.partition(ctx, p, head); err != nil {
			return nil, err
		}
	}
	v.report.Aggregates = len(v.chains)
	v.report.Living = living(v.rows)
	v.report.Entries, v.report.Digest = v.report.Living[readmodel.KindEntry], digestOf(v.rows)
	if err := v.compare(ctx, heads); err != nil {
		return nil, err
	}
	return &v.report, nil
}

func (v *Verifier) heads(ctx context.Context) ([]uint64, error) {
	heads := make([]uint64, v.Journal.Partitions())
	for p := range heads {
		var err error
		if heads[p], err = v.Journal.Head(ctx, p); err != nil {
			return nil, err
		}
	}
	return heads, nil
}

func (v *Verifier) differ(d Difference, format string, args ...any) {
	d.What = fmt.Sprintf(format, args...)
	v.report.Differences = append(v.report.Differences, d)
}

// at is a difference at an event's place.
func at(tier string, m *history.Message) Difference {
	return Difference{Tier: tier, Key: string(m.Stream), Stream: m.Stream, Partition: m.Partition, Revision: m.Revision}
}
