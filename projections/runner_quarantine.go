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

// This file keeps a runner's quarantine in step with what it folds.

// loadHeld takes over what the view holds. What was given up and lies behind
// the position from which the view goes on is forgotten, though not before the
// view behind has passed it, what was applied and cannot have been lost since,
// and what was held of another journal.
func (r *Runner) loadHeld(ctx context.Context, from uint64) error {
	r.held, r.retried = map[events.Stream]*quarantine.Held{}, map[events.Stream]uint64{}
	if r.Quarantine == nil {
		return nil
	}
	if r.Follows != nil { // Known is to have it from now on
		if _, err := r.Quarantine.Held(ctx, r.Follows.view, r.Partition); err != nil {
			return fmt.Errorf("read what view %s has quarantined: %w", r.Follows.view, err)
		}
	}
	all, err := r.Quarantine.Held(ctx, r.View, r.Partition)
	if err != nil {
		return fmt.Errorf("read what is quarantined: %w", err)
	}
	for _, h := range all {
		if h.Dropped && h.Last <= from || h.Level > 0 && h.Level < from || h.Journal != r.Source.ID() {
			if h.Dropped && h.Journal == r.Source.ID() { // a crash may have brought it back
				unfollowed, err := r.unfollowed(ctx, h.Last) // first: the write below waits until that position is on disk, too
				if err != nil {
					return fmt.Errorf("load the checkpoint of the view behind: %w", err)
				}
				c := Changes{Released: []quarantine.Released{{Stream: h.Stream, UpTo: h.Last}}}
				if err := r.Target.Apply(ctx, r.Partition, from, from, c); err != nil {
					return fmt.Errorf("forget what was given up: %w", err)
				}
				if unfollowed {
					continue // the view behind leaves out the same events
				}
			}
			if err := r.Quarantine.Remove(ctx, h); err != nil {
				return fmt.Errorf("forget what is quarantined no longer: %w", err)
			}
			continue
		}
		if h.Level > 0 { // what was applied may have been lost
			h.Level = 0
			if err := r.repair(ctx, &h, from); err != nil {
				return fmt.Errorf("apply %s again: %w", h.Stream, err)
			}
			continue
		}
		r.held[h.Stream] = &h
	}
	if err := r.holdInFront(ctx, from); err != nil {
		return err
	}
	return r.adoptLetters(ctx)
}

// adoptLetters takes over what only the target knows to be held: a rebuild has
// passed it by, or the quarantine was lost.
func (r *Runner) adoptLetters(ctx context.Context) error {
	t, ok := r.Target.(quarantine.Letters)
	if !ok {
		return nil
	}
	all, err := t.Letters(ctx, r.Partition)
	if err != nil {
		return err
	}
	for _, h := range all {
		if r.held[h.Stream] != nil {
			continue
		}
		h.View, h.Partition, h.Journal = r.View, r.Partition, r.Source.ID()
		if err := r.Quarantine.Put(ctx, h); err != nil {
			return fmt.Errorf("quarantine %s: %w", h.Stream, err)
		}
		r.held[h.Stream] = &h
	}
	return nil
}

// leavesOut tells whether an entry is of a held aggregate, from the event on
// that could not be applied.
func (r *Runner) leavesOut(m *history.Message) bool {
	h := r.held[m.Stream]
	return h != nil && h.LeavesOut(m.Revision)
}

// fold folds a batch without what is held, holding what cannot be folded. It
// comes back when what it holds is stored.
func (r *Runner) fold(ctx context.Context, batch []history.Message) (Changes, error) {
	for {
		rest, left := r.split(batch)
		c := r.foldOf(rest)
		if len(c.Poison) == 0 {
			c.Held = left
			return c, r.count(ctx, left)
		}
		if r.Quarantine == nil {
			r.passOver(c.Poison)
			return c, nil
		}
		for i := range c.Poison {
			r.hold(&c.Poison[i])
		}
	}
}

// split parts a batch into what is folded and what waits. What was given up is
// in neither.
func (r *Runner) split(batch []history.Message) (rest, left []history.Message) {
	if len(r.held) == 0 {
		return batch, nil
	}
	rest = make([]history.Message, 0, len(batch))
	for _, m := range batch {
		switch h := r.held[m.Stream]; {
		case !r.leavesOut(&m):
			rest = append(rest, m)
		case !h.Dropped:
			if m.Bad = errors.New(h.Reason); m.Revision > h.First {
				m.Bad = fmt.Errorf("waits behind revision %d", h.First)
			}
			left = append(left, m)
		}
	}
	return rest, left
}

// hold leaves an aggregate out from an event on. It is not stored yet.
func (r *Runner) hold(m *history.Message) {
	if h := r.held[m.Stream]; h != nil && !h.Dropped && m.Revision > h.First {
		return // a second one behind the first
	}
	r.held[m.Stream] = &quarantine.Held{
		View: r.View, Partition: r.Partition, Stream: m.Stream, Journal: r.Source.ID(), First: m.Revision,
		Reason: m.Bad.Error(), Since: time.Now().UTC(),
	}
	r.Log.Error("an event cannot be applied; the view goes on without its aggregate", "view", r.View,
		"partition", r.Partition, "stream", m.Stream, "revision", m.Revision, "error", m.Bad)
}

// count stores what waits. An entry that was counted before, and comes again
// after a restart, is not counted twice.
func (r *Runner) count(ctx context.Context, left []history.Message) error {
	grown := map[events.Stream]quarantine.Held{}
	for i := range left {
		m := &left[i]
		h, ok := grown[m.Stream]
		if !ok {
			h = *r.held[m.Stream]
		}
		if m.Revision > h.Last {
			h.Last, h.Waiting = m.Revision, h.Waiting+1
			grown[m.Stream] = h
		}
	}
	for s, h := range grown {
		if err := r.Quarantine.Put(ctx, h); err != nil {
			return fmt.Errorf("quarantine %s: %w", s, err)
		}
		r.held[s] = &h
	}
	return nil
}

// passOver says what a target without a quarantine goes on without.
func (r *Runner) passOver(bad []history.Message) {
	for i := range bad {
		r.Log.Warn("an event cannot be folded and is passed over", "view", r.View,
			"partition", r.Partition, "stream", bad[i].Stream, "revision", bad[i].Revision, "error", bad[i].Bad)
	}
}
