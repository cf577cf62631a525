package verify

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// kinds are the kinds of rows in the order of reports.
var kinds = [...]string{
	readmodel.KindEntry, readmodel.KindTask, readmodel.KindSession, readmodel.KindReminder, readmodel.KindConfig, readmodel.KindClaim, readmodel.KindView, readmodel.KindInbox, readmodel.KindLifecycle, readmodel.KindConflict, readmodel.KindMessage,
}

// Tier is one read model that is verified and repaired.
type Tier struct {
	Name string
	View string // the view that writes its rows
	// Keeps are the kinds of rows in the tier, each with the age at which rows may be absent; 0 =
	// never.
	Keeps map[string]time.Duration
	// Evicts: the entries of an agent that is not active may be absent.
	Evicts bool
	// Each yields every row; the losing writes of an entry one by one, in order.
	Each func(ctx context.Context, yield func(Row)) error
	// Removed returns the time of the events up to which messages may be absent, because they were
	// removed for their age; nil = none are.
	Removed func(ctx context.Context) (time.Time, error)
	// Of yields the rows of one stream in the same form.
	Of func(ctx context.Context, s events.AggregateName, yield func(Row)) error
	// Restore replaces the rows of streams by what their events in the journal result in.
	Restore func(ctx context.Context, streams []events.AggregateName) error
	// Chunks find rows without knowing their names.
	Chunks Chunks
}

// Names of the stores that are compared beside the tiers.
const (
	InJournal = "journal"
	InArchive = "archive"
)

// Difference is one row or event that does not match the journal.
type Difference struct {
	Tier string `json:"tier"` // "journal", "archive", "kv", "sql", or a lagging view
	Key  string `json:"key"`  // "<agent>.<key>" of an entry, "<kind> <name>" of others, or the stream
	What string `json:"what"` // the content on both sides

	Stream    events.AggregateName `json:"stream,omitempty"` // of the row or event
	Partition int                  `json:"partition"`
	Revision  uint64               `json:"revision,omitempty"` // of the event

	// Quarantined is the reason why the view has quarantined the aggregate: the difference is
	// known, and engine dlq retries it; empty = not quarantined.
	Quarantined string `json:"quarantined,omitempty"`
}

// Compare orders differences by tier, key and revision.
func (d Difference) Compare(o Difference) int {
	return cmp.Or(cmp.Compare(d.Tier, o.Tier), cmp.Compare(d.Key, o.Key), cmp.Compare(d.Revision, o.Revision))
}

// Counts are the results for some rows.
type Counts struct {
	Rows        int `json:"rows"`
	Equal       int `json:"equal"`
	Newer       int `json:"newer"`   // written meanwhile, and equal to the later event
	Expired     int `json:"expired"` // absent: older than the tier's TTL, or evicted with their agent
	Differences int `json:"differences"`
}

func (c *Counts) add(o *Counts) {
	c.Rows += o.Rows
	c.Equal += o.Equal
	c.Newer += o.Newer
	c.Expired += o.Expired
	c.Differences += o.Differences
}

// KindReport is the result for the rows of one kind in one tier.
type KindReport struct {
	Kind string `json:"kind"`
	Counts
}

// TierReport is the result for one tier.
type TierReport struct {
	Name string `json:"name"`
	Counts
	Digest string       `json:"digest"` // of its state entries
	Kinds  []KindReport `json:"kinds"`
}

// Report is the result of a verification.
type Report struct {
	Events      int            `json:"events"`
	Aggregates  int            `json:"aggregates"`
	Entries     int            `json:"entries"` // state entries, without deleted ones
	Living      map[string]int `json:"living"`  // rows of the fold by kind, without deleted ones
	Heads       []uint64       `json:"heads"`
	Digest      string         `json:"digest"`            // of the fold's entries; equals that of a tier when nothing is written meanwhile
	Archive     *Counts        `json:"archive,omitempty"` // archived events against the journal's
	Tiers       []TierReport   `json:"tiers"`
	Differences []Difference   `json:"differences"`
	// Erased is the number of events by agent whose content is erased: their keys are
	// destroyed. They are no differences, and their chains are checked.
	Erased map[string]int `json:"erased,omitempty"`
}

// OK reports whether there is no difference.
func (r *Report) OK() bool { return len(r.Differences) == 0 }

// Verifier is one verification.
type Verifier struct {
	Journal Journal
	Archive Archive // nil = without SQL
	Tiers   []Tier
	// Reached waits until the views have reached the heads, or returns a difference for each that
	// has not. It is called once, before the comparison.
	Reached func(ctx context.Context, heads []uint64) []Difference
	// Step is called from time to time with the number of events folded.
	Step func(events int)
	// RowsOnly skips the digest chains, which take most of the time.
	RowsOnly bool

	report   Report
	chains   map[events.AggregateName]chainEnd
	rows     map[rowKey]rowSummary   // at the heads
	later    map[rowKey][]rowSummary // after the heads
	losses   map[rowKey]rowSummary   // of all losing writes so far
	inactive map[string]bool         // agents that are, or meanwhile were, inactive
	erased   map[string]time.Time    // agents by the time of their last erasure
}

func (v *Verifier) begin() {
	v.report = Report{Differences: []Difference{}}
	v.chains, v.inactive = map[events.AggregateName]chainEnd{}, map[string]bool{}
	v.erased = map[string]time.Time{}
	v.rows, v.later, v.losses = map[rowKey]rowSummary{}, map[rowKey][]rowSummary{}, map[rowKey]rowSummary{}
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
	found, err := v.read(ctx, heads)
	if err != nil {
		return nil, err
	}
	v.report.Aggregates = len(v.chains)
	v.report.Living = living(v.rows)
	v.report.Entries, v.report.Digest = v.report.Living[readmodel.KindEntry], digestOf(v.rows)
	if err := v.compare(ctx, heads, found); err != nil {
		return nil, err
	}
	return &v.report, nil
}

// read folds the history up to the heads and reads the tiers meanwhile.
func (v *Verifier) read(ctx context.Context, heads []uint64) ([]*tierRows, error) {
	found := make([]*tierRows, len(v.Tiers))
	all, ctx := errgroup.WithContext(ctx)
	for i := range v.Tiers {
		all.Go(func() (err error) {
			found[i], err = v.Tiers[i].read(ctx)
			return err
		})
	}
	all.Go(func() error {
		for p, head := range heads {
			if err := v.partition(ctx, p, head); err != nil {
				return err
			}
		}
		return nil
	})
	return found, all.Wait()
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

// eventDifference returns an empty difference of an event.
func eventDifference(tier string, m *history.Message) Difference {
	return Difference{Tier: tier, Key: string(m.Name), Stream: m.Name, Partition: m.Partition, Revision: m.Revision}
}
