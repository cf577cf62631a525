package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// loadQuarantine loads the view's quarantine. It removes entries of another journal, dropped
// events before the position that the following view has passed too, and retried events that a
// crash can no longer lose.
func (r *Runner) loadQuarantine(ctx context.Context, from uint64) error {
	r.quarantined, r.retried = map[events.AggregateName]*quarantine.Entry{}, map[events.AggregateName]uint64{}
	if r.Quarantine == nil {
		return nil
	}
	if r.Follows != nil { // so that Cached returns it
		if _, err := r.Quarantine.Entries(ctx, r.Follows.view, r.Partition); err != nil {
			return fmt.Errorf("read the quarantine of view %s: %w", r.Follows.view, err)
		}
	}
	all, err := r.Quarantine.Entries(ctx, r.View, r.Partition)
	if err != nil {
		return fmt.Errorf("read the quarantine: %w", err)
	}
	for _, h := range all {
		if h.Dropped && h.Last <= from || h.AppliedAt > 0 && h.AppliedAt < from || h.Journal != r.Source.ID() {
			if h.Dropped && h.Journal == r.Source.ID() { // a crash may have restored it in the target
				unfollowed, err := r.followerBehind(ctx, h.Last) // first: the write below waits until that position is on disk too
				if err != nil {
					return fmt.Errorf("load the checkpoint of the following view: %w", err)
				}
				c := Changes{Released: []quarantine.Released{{Stream: h.Stream, UpTo: h.Last}}}
				if err := r.Target.Apply(ctx, r.Partition, from, from, c); err != nil {
					return fmt.Errorf("remove dropped events: %w", err)
				}
				if unfollowed {
					continue // the following view skips the same events
				}
			}
			if err := r.Quarantine.Remove(ctx, h); err != nil {
				return fmt.Errorf("remove a quarantine that has ended: %w", err)
			}
			continue
		}
		if h.AppliedAt > 0 { // the applied rows may be lost
			h.AppliedAt = 0
			if err := r.retry(ctx, &h, from); err != nil {
				return fmt.Errorf("apply %s again: %w", h.Stream, err)
			}
			continue
		}
		r.quarantined[h.Stream] = &h
	}
	if err := r.adoptFrontQuarantine(ctx, from); err != nil {
		return err
	}
	return r.adoptTargetQuarantine(ctx)
}

// adoptTargetQuarantine adds aggregates that only the target has quarantined: a rebuild has set
// them aside, or the quarantine store was lost.
func (r *Runner) adoptTargetQuarantine(ctx context.Context) error {
	t, ok := r.Target.(quarantine.TargetQuarantine)
	if !ok {
		return nil
	}
	all, err := t.Quarantined(ctx, r.Partition)
	if err != nil {
		return err
	}
	for _, h := range all {
		if r.quarantined[h.Stream] != nil {
			continue
		}
		h.View, h.Partition, h.Journal = r.View, r.Partition, r.Source.ID()
		if err := r.Quarantine.Put(ctx, h); err != nil {
			return fmt.Errorf("quarantine %s: %w", h.Stream, err)
		}
		r.quarantined[h.Stream] = &h
	}
	return nil
}

// excludes reports whether a message belongs to a quarantined aggregate, from the failed event on.
func (r *Runner) excludes(m *history.Message) bool {
	h := r.quarantined[m.Name]
	return h != nil && h.Excludes(m.Revision)
}

// fold folds a batch without the quarantined aggregates and quarantines those whose events cannot
// be folded. It returns after the quarantine is stored.
func (r *Runner) fold(ctx context.Context, batch []history.Message) (Changes, error) {
	for {
		rest, waiting := r.split(batch)
		c := r.foldOf(rest)
		if len(c.Poison) == 0 {
			c.Quarantined = waiting
			return c, r.countWaiting(ctx, waiting)
		}
		if r.Quarantine == nil {
			r.logSkipped(c.Poison)
			return c, nil
		}
		for i := range c.Poison {
			r.setAside(&c.Poison[i])
		}
	}
}

// split divides a batch into the events to fold and the quarantined ones. Dropped events are in
// neither.
func (r *Runner) split(batch []history.Message) (rest, waiting []history.Message) {
	if len(r.quarantined) == 0 {
		return batch, nil
	}
	rest = make([]history.Message, 0, len(batch))
	for _, m := range batch {
		switch h := r.quarantined[m.Name]; {
		case !r.excludes(&m):
			rest = append(rest, m)
		case !h.Dropped:
			if m.Bad = errors.New(h.Reason); m.Revision > h.First {
				m.Bad = fmt.Errorf("waits behind revision %d", h.First)
			}
			waiting = append(waiting, m)
		}
	}
	return rest, waiting
}

// setAside quarantines an aggregate from an event on. It does not store the entry.
func (r *Runner) setAside(m *history.Message) {
	if h := r.quarantined[m.Name]; h != nil && !h.Dropped && m.Revision > h.First {
		return // a later event of a quarantined aggregate
	}
	r.quarantined[m.Name] = &quarantine.Entry{
		View: r.View, Partition: r.Partition, Stream: m.Name, Journal: r.Source.ID(), First: m.Revision,
		Reason: m.Bad.Error(), Since: time.Now().UTC(),
	}
	r.Log.Error("an event cannot be applied; its aggregate is quarantined", "view", r.View,
		"partition", r.Partition, "stream", m.Name, "revision", m.Revision, "error", m.Bad)
}

// countWaiting stores the numbers of waiting events. An event that is read again after a restart
// is counted once.
func (r *Runner) countWaiting(ctx context.Context, waiting []history.Message) error {
	grown := map[events.AggregateName]quarantine.Entry{}
	for i := range waiting {
		m := &waiting[i]
		h, ok := grown[m.Name]
		if !ok {
			h = *r.quarantined[m.Name]
		}
		if m.Revision > h.Last {
			h.Last, h.Waiting = m.Revision, h.Waiting+1
			grown[m.Name] = h
		}
	}
	for s, h := range grown {
		if err := r.Quarantine.Put(ctx, h); err != nil {
			return fmt.Errorf("quarantine %s: %w", s, err)
		}
		r.quarantined[s] = &h
	}
	return nil
}

// logSkipped logs the events that a target without a quarantine skips.
func (r *Runner) logSkipped(bad []history.Message) {
	for i := range bad {
		r.Log.Warn("an event cannot be folded and is skipped", "view", r.View,
			"partition", r.Partition, "stream", bad[i].Name, "revision", bad[i].Revision, "error", bad[i].Bad)
	}
}
