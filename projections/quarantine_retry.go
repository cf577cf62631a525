package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// This file carries out what is asked about held aggregates, in the runner's
// own turn: nothing else is applied meanwhile, so an aggregate that is level
// with the view's position is level for good.

// repairBatch is how many waiting events are applied at a time.
const repairBatch = 500

func (r *Runner) changed() <-chan struct{} {
	if r.Quarantine == nil {
		return nil
	}
	return r.Quarantine.Changed()
}

// asked looks for what somebody wants done, and does it. An aggregate that this
// runner does not hold was put by one that has been replaced: it is tried again
// at once.
func (r *Runner) asked(ctx context.Context, at uint64) error {
	if r.Quarantine == nil {
		return nil
	}
	for _, known := range r.Quarantine.Known(r.View, r.Partition) {
		h := r.held[known.Stream]
		adopted := h == nil && known.Waits() && known.Journal == r.Source.ID()
		if adopted {
			h = &known
			r.held[h.Stream] = h
		}
		var err error
		switch {
		case h == nil:
		case !h.Dropped && (adopted || known.Asked == quarantine.AskRetry || known.Asked == "" && r.released(h)):
			err = r.repair(ctx, h, at)
		case !h.Dropped && known.Asked == quarantine.AskDrop:
			err = r.drop(ctx, h, at)
		}
		if err == nil && known.Asked != "" {
			err = r.Quarantine.Done(ctx, known)
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w", known.Asked, known.Stream, err)
		}
	}
	return nil
}

// repair applies what waits, up to the view's position. Level again, the
// aggregate is let go; else it is held from the event on that cannot be
// applied now.
func (r *Runner) repair(ctx context.Context, h *quarantine.Held, at uint64) error {
	h.Attempts++
	first, waiting := h.First, h.Waiting
	var batch []history.Message
	last := uint64(0)
	var err error
	unread := r.Past(ctx, h.Stream, h.First-1, at, func(m history.Message) error {
		last = m.Revision
		if batch = append(batch, m); len(batch) < repairBatch {
			return nil
		}
		full := batch
		batch = nil
		err = r.reapply(ctx, h, at, full)
		return err
	})
	switch {
	case err != nil:
	case unread != nil:
		h.Reason, err = fmt.Sprintf("what waits cannot be read again: %v", unread), errStillHeld
	case last < h.Last && h.Last <= at:
		h.Reason, err = fmt.Sprintf("the copy of the journal that answered ends at %d, not at %d", last, h.Last), errStillHeld
	default:
		err = r.reapply(ctx, h, at, batch)
	}
	if errors.Is(err, errStillHeld) {
		r.held[h.Stream] = h
		r.Log.Warn("a quarantined aggregate still cannot be applied", "view", r.View, "stream", h.Stream,
			"revision", h.First, "attempts", h.Attempts, "reason", h.Reason)
		return r.Quarantine.Put(ctx, *h)
	}
	if err == nil {
		err = r.Target.Apply(ctx, r.Partition, at, at, Changes{Released: []quarantine.Released{{Stream: h.Stream, UpTo: at}}})
	}
	if err != nil {
		return err
	}
	r.Log.Info("a quarantined aggregate is level again", "view", r.View, "stream", h.Stream, "attempts", h.Attempts)
	delete(r.held, h.Stream)
	if !r.Lossy {
		return r.Quarantine.Remove(ctx, *h)
	}
	h.First, h.Last, h.Waiting, h.Level = first, 0, waiting, at
	return r.Quarantine.Put(ctx, *h)
}

var errStillHeld = errors.New("an event cannot be applied")

// reapply writes events of one aggregate where the view stands. What is written
// waits no longer, whatever comes after it.
func (r *Runner) reapply(ctx context.Context, h *quarantine.Held, at uint64, batch []history.Message) error {
	if len(batch) == 0 {
		return nil
	}
	c := r.foldOf(batch)
	if len(c.Poison) > 0 {
		for i := range batch {
			if batch[i].Revision == c.Poison[0].Revision {
				if err := r.reapply(ctx, h, at, batch[:i]); err != nil {
					return err
				}
				return still(h, &c.Poison[0])
			}
		}
	}
	last := batch[len(batch)-1].Revision
	c.Released = []quarantine.Released{{Stream: h.Stream, UpTo: last}}
	err := r.Target.Apply(ctx, r.Partition, at, at, c)
	switch {
	case errors.Is(err, ErrUnappliable) && len(batch) == 1:
		batch[0].Bad = err
		return still(h, &batch[0])
	case errors.Is(err, ErrUnappliable):
		half := len(batch) / 2
		if err := r.reapply(ctx, h, at, batch[:half]); err != nil {
			return err
		}
		return r.reapply(ctx, h, at, batch[half:])
	case err != nil:
		return err
	}
	h.First, h.Waiting = last+1, max(0, h.Waiting-len(batch))
	return nil
}

// still holds the aggregate from another event on, or for another reason.
func still(h *quarantine.Held, m *history.Message) error {
	h.First, h.Reason = m.Revision, m.Bad.Error()
	return errStillHeld
}

// drop gives up what waits. The next event of the aggregate goes on as if
// those before it had been applied.
func (r *Runner) drop(ctx context.Context, h *quarantine.Held, at uint64) error {
	err := r.Target.Apply(ctx, r.Partition, at, at, Changes{Released: []quarantine.Released{{Stream: h.Stream, UpTo: at}}})
	if err != nil {
		return err
	}
	h.Dropped, h.Last = true, max(h.Last, at)
	r.Log.Warn("events of a quarantined aggregate are given up", "view", r.View, "stream", h.Stream,
		"first", h.First, "last", h.Last, "events", h.Waiting)
	return r.Quarantine.Put(ctx, *h)
}
