package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Spot checks single aggregates in all tiers: what Verify asks of everything,
// it asks of one, while views and writers go on.
type Sampler struct {
	Journal Journal
	Archive Archive // nil = without SQL
	Tiers   []Tier
	// Reached tells whether a view has come to a revision; it may wait a while.
	Reached func(ctx context.Context, view string, partition int, revision uint64) (bool, error)
	// Leaves tells whether a view is known to leave an aggregate out; nil = no.
	Leaves func(view string, partition int, s events.Stream) bool
}

// Finding is what a spot check found.
type Finding struct {
	Events      int // that were read, with those of the archive
	Differences []Difference
	Unsettled   string // set where the aggregate could not be judged: why
}

// Bounds of patience with an aggregate that is being written, and between two
// looks at a difference: it counts when it stands twice.
const (
	spotRounds = 20
	spotPause  = 20 * time.Millisecond
)

// Check checks the aggregate of a stream. An error means that a tier or the
// journal could not be asked.
func (c *Sampler) Check(ctx context.Context, s events.Stream) (f Finding, err error) {
	stood := ""
	for range spotRounds {
		var still bool
		f, still, err = c.look(ctx, s)
		if err != nil || still && len(f.Differences) == 0 && f.Unsettled == "" {
			return f, err
		}
		if f.Unsettled == "" && !still {
			f.Unsettled = "it is being written"
		}
		what := fmt.Sprint(f.Differences)
		if still && f.Unsettled == "" && what == stood {
			return f, nil
		}
		stood = what
		if err := pause(ctx, spotPause); err != nil {
			return f, err
		}
	}
	f.Differences = nil // none has stood
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

// look holds the tiers against the journal once. still tells whether the
// journal has said nothing new meanwhile: only then the rows, whose views had
// come to its end before they were read, have to be exactly as it says.
func (c *Sampler) look(ctx context.Context, s events.Stream) (f Finding, still bool, err error) {
	kind, agent, _ := readmodel.RowOf(s)
	asked := []events.Stream{s}
	if kind == readmodel.KindEntry { // which may be evicted with its agent
		asked = append(asked, events.Lifecycle(agent))
	}
	before, err := c.Journal.Ends(ctx, asked, history.Bound{}, history.Linearizable)
	if err != nil {
		return f, false, err
	}
	end := &before[0]
	v := Verifier{Journal: c.Journal, Archive: c.Archive}
	v.begin()
	if late, err := c.late(ctx, kind, end); err != nil || late != "" {
		return Finding{Unsettled: late}, false, err
	}
	if err := c.history(ctx, &v, s, end.Revision); err != nil {
		return f, false, err
	}
	found := make([]map[rowKey]mark, len(c.Tiers))
	for i := range c.Tiers {
		found[i] = map[rowKey]mark{}
		if _, keeps := c.Tiers[i].Keeps[kind]; !keeps {
			continue
		}
		if err := c.Tiers[i].Of(ctx, s, collect(found[i])); err != nil {
			return f, false, fmt.Errorf("read %s: %w", c.Tiers[i].Name, err)
		}
	}
	after, err := c.Journal.Ends(ctx, asked, history.Bound{}, history.Linearizable)
	if err != nil {
		return f, false, err
	}
	for i := 1; i < len(asked); i++ {
		v.away[agent] = away(&before[i]) || away(&after[i])
	}
	for i := range c.Tiers {
		if _, keeps := c.Tiers[i].Keeps[kind]; keeps {
			v.tier(&c.Tiers[i], found[i])
		}
	}
	f.Events, f.Differences = v.report.Events, v.report.Differences
	return f, before[0].Revision == after[0].Revision, nil
}

// late names a view that has not come to an event whose row it keeps.
func (c *Sampler) late(ctx context.Context, kind string, end *history.Message) (string, error) {
	views := map[string]bool{}
	for i := range c.Tiers {
		if _, keeps := c.Tiers[i].Keeps[kind]; keeps {
			views[c.Tiers[i].View] = true
		}
	}
	for view := range views {
		if c.Leaves != nil && c.Leaves(view, end.Partition, end.Stream) {
			return fmt.Sprintf("the view %s leaves it out (engine dlq list)", view), nil
		}
		ok, err := c.Reached(ctx, view, end.Partition, end.Revision)
		if err != nil {
			return "", err
		}
		if !ok {
			return fmt.Sprintf("the view %s has not come to revision %d", view, end.Revision), nil
		}
	}
	return "", nil
}

// history folds all that is known of a stream up to its end, and holds the
// archive against the journal.
func (c *Sampler) history(ctx context.Context, v *Verifier, s events.Stream, end uint64) error {
	p := span{partition: c.Journal.Partition(s.ID())}
	var err error
	if p.cut, _, err = c.Journal.Trimmed(ctx, p.partition); err != nil {
		return err
	}
	archive := side(func(func(history.Message) error) error { return nil })
	switch {
	case c.Archive != nil:
		if p.reach, err = c.Archive.Reaches(ctx, p.partition, c.Journal.ID()); err != nil {
			return err
		}
		archive = upTo(end, func(yield func(history.Message) error) error { return c.Archive.AuditOf(ctx, p.partition, s, yield) })
	case p.cut > 0:
		return history.NotArchived(p.partition, p.cut)
	}
	journal := upTo(end, func(yield func(history.Message) error) error {
		return c.Journal.Range(ctx, history.Range{Partition: p.partition, Aggregate: s}, yield)
	})
	return v.walk(ctx, &p, journal, archive)
}

// upTo ends a side at a revision.
func upTo(end uint64, s side) side {
	return func(yield func(history.Message) error) error {
		return s(func(m history.Message) error {
			if m.Revision > end {
				return errStop
			}
			return yield(m)
		})
	}
}

// away tells from the end of an agent's lifecycle whether its entries may be
// out of the hot tier.
func away(m *history.Message) bool {
	return m.Type != "" && !active(m)
}
