package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Sampler compares single aggregates in all tiers, as Verifier does for all of them, while views
// and writers continue.
type Sampler struct {
	Journal Journal
	Archive Archive // nil = without SQL
	Tiers   []Tier
	// Reached reports whether a view has reached a revision; it may wait a short time.
	Reached func(ctx context.Context, view string, partition int, revision uint64) (bool, error)
	// Quarantined reports whether a view has quarantined an aggregate; nil = no.
	Quarantined func(view string, partition int, s events.AggregateName) bool
}

// Finding is the result of a check.
type Finding struct {
	Events      int // events read, with those of the archive
	Differences []Difference
	Unsettled   string // why the aggregate could not be judged; empty = it was
}

// Retries for an aggregate that is being written, and the pause between two comparisons: a
// difference counts when two consecutive ones find it.
const (
	sampleRounds = 20
	samplePause  = 20 * time.Millisecond
)

// Check compares the aggregate of a stream. It fails when a tier or the journal cannot be read.
func (c *Sampler) Check(ctx context.Context, s events.AggregateName) (f Finding, err error) {
	previous := ""
	for range sampleRounds {
		var unchanged bool
		f, unchanged, err = c.compareOnce(ctx, s)
		if err != nil || unchanged && len(f.Differences) == 0 && f.Unsettled == "" {
			return f, err
		}
		if f.Unsettled == "" && !unchanged {
			f.Unsettled = "it is being written"
		}
		what := fmt.Sprint(f.Differences)
		if unchanged && f.Unsettled == "" && what == previous {
			return f, nil
		}
		previous = what
		if err := pause(ctx, samplePause); err != nil {
			return f, err
		}
	}
	f.Differences = nil // none was found twice
	if f.Unsettled == "" {
		f.Unsettled = "its rows change without an event"
	}
	return f, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compareOnce compares the tiers with the journal once. unchanged reports whether the journal had
// no new event meanwhile: only then must the rows, whose views had reached the last event before
// they were read, match it exactly.
func (c *Sampler) compareOnce(ctx context.Context, s events.AggregateName) (f Finding, unchanged bool, err error) {
	kind, agent, _ := readmodel.RowOf(s)
	asked := []events.AggregateName{s}
	if kind == readmodel.KindEntry { // it may be evicted with its agent
		asked = append(asked, events.Lifecycle(agent))
	}
	before, err := c.Journal.Ends(ctx, asked, history.Bound{}, history.Linearizable)
	if err != nil {
		return f, false, err
	}
	end := &before[0]
	v := Verifier{Journal: c.Journal, Archive: c.Archive}
	v.begin()
	if late, err := c.laggingView(ctx, kind, end); err != nil || late != "" {
		return Finding{Unsettled: late}, false, err
	}
	if err := c.walkHistory(ctx, &v, s, end.Revision); err != nil {
		return f, false, err
	}
	found := make([]*tierRows, len(c.Tiers))
	for i := range c.Tiers {
		found[i] = &tierRows{rows: map[rowKey]rowSummary{}}
		if _, keeps := c.Tiers[i].Keeps[kind]; !keeps {
			continue
		}
		if err := c.Tiers[i].Of(ctx, s, collect(found[i].rows)); err != nil {
			return f, false, fmt.Errorf("read %s: %w", c.Tiers[i].Name, err)
		}
	}
	for _, f := range found {
		f.at = time.Now()
	}
	after, err := c.Journal.Ends(ctx, asked, history.Bound{}, history.Linearizable)
	if err != nil {
		return f, false, err
	}
	for i := 1; i < len(asked); i++ {
		v.inactive[agent] = mayBeEvicted(&before[i]) || mayBeEvicted(&after[i])
	}
	for i := range c.Tiers {
		if _, keeps := c.Tiers[i].Keeps[kind]; keeps {
			v.compareTier(&c.Tiers[i], found[i])
		}
	}
	f.Events, f.Differences = v.report.Events, v.report.Differences
	return f, before[0].Revision == after[0].Revision, nil
}

// laggingView names a view that keeps the row of an event and has not reached it.
func (c *Sampler) laggingView(ctx context.Context, kind string, end *history.Message) (string, error) {
	views := map[string]bool{}
	for i := range c.Tiers {
		if _, keeps := c.Tiers[i].Keeps[kind]; keeps {
			views[c.Tiers[i].View] = true
		}
	}
	for view := range views {
		if c.Quarantined != nil && c.Quarantined(view, end.Partition, end.Name) {
			return fmt.Sprintf("the view %s has quarantined it (engine dlq list)", view), nil
		}
		ok, err := c.Reached(ctx, view, end.Partition, end.Revision)
		if err != nil {
			return "", err
		}
		if !ok {
			return fmt.Sprintf("the view %s has not reached revision %d", view, end.Revision), nil
		}
	}
	return "", nil
}

// walkHistory folds all events of a stream up to end and compares the archive with the journal.
func (c *Sampler) walkHistory(ctx context.Context, v *Verifier, s events.AggregateName, end uint64) error {
	p := span{partition: c.Journal.Partition(s.ID())}
	var err error
	if p.cut, _, err = c.Journal.Trimmed(ctx, p.partition); err != nil {
		return err
	}
	archive := messageSeq(func(func(history.Message) error) error { return nil })
	switch {
	case c.Archive != nil:
		if p.reach, err = c.Archive.Reaches(ctx, p.partition, c.Journal.ID()); err != nil {
			return err
		}
		archive = upTo(end, func(yield func(history.Message) error) error {
			return c.Archive.AuditOf(ctx, p.partition, s, p.known, yield)
		})
	case p.cut > 0:
		return history.NotArchived(p.partition, p.cut)
	}
	journal := upTo(end, func(yield func(history.Message) error) error {
		return c.Journal.Range(ctx, history.Range{Partition: p.partition, Aggregate: s}, yield)
	})
	return v.walk(ctx, &p, journal, archive)
}

// upTo ends a sequence at a revision.
func upTo(end uint64, s messageSeq) messageSeq {
	return func(yield func(history.Message) error) error {
		return s(func(m history.Message) error {
			if m.Revision > end {
				return errStop
			}
			return yield(m)
		})
	}
}

// mayBeEvicted reports, by the last event of an agent's lifecycle, whether its entries may be
// missing in the hot tier.
func mayBeEvicted(m *history.Message) bool {
	return m.Type != "" && !active(m)
}
