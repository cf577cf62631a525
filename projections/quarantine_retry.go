package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// retryBatch is the number of waiting events that are applied at a time.
const retryBatch = 500

func (r *Runner) changed() <-chan struct{} {
	if r.Quarantine == nil {
		return nil
	}
	return r.Quarantine.Changed()
}

// runRequests executes the retries and drops that operators have requested. It runs between two
// batches, so an aggregate that has caught up with the view's position stays caught up. An
// aggregate in the store that this runner does not know was quarantined by a runner that has been
// replaced: it is retried at once.
func (r *Runner) runRequests(ctx context.Context, at uint64) error {
	if r.Quarantine == nil {
		return nil
	}
	// The leading view may have found its own quarantine after this view began.
	if err := r.adoptFrontQuarantine(ctx, at); err != nil {
		return err
	}
	for _, known := range r.Quarantine.Cached(r.View, r.Partition) {
		h := r.quarantined[known.Stream]
		adopted := h == nil && known.Waits() && known.Journal == r.Source.ID()
		if adopted {
			h = &known
			r.quarantined[h.Stream] = h
		}
		var err error
		switch {
		case h == nil:
		case !h.Dropped && (adopted || known.Request == quarantine.RequestRetry || known.Request == "" && r.releasedInFront(h)):
			err = r.retry(ctx, h, at)
		case !h.Dropped && known.Request == quarantine.RequestDrop:
			err = r.drop(ctx, h, at)
		}
		if err == nil && known.Request != "" {
			err = r.Quarantine.Done(ctx, known)
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w", known.Request, known.Stream, err)
		}
	}
	return nil
}

// retry applies the waiting events of an aggregate up to the view's position. On success the
// aggregate leaves the quarantine; otherwise it stays quarantined from the first event that still
// cannot be applied.
func (r *Runner) retry(ctx context.Context, h *quarantine.Entry, at uint64) error {
	h.Attempts++
	first, waiting := h.First, h.Waiting
	var batch []history.Message
	last := uint64(0)
	var err error
	unread := r.ReadStream(ctx, h.Stream, h.First-1, at, func(m history.Message) error {
		last = m.Revision
		if batch = append(batch, m); len(batch) < retryBatch {
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
		h.Reason, err = fmt.Sprintf("the waiting events cannot be read again: %v", unread), errStillFailing
	case last < h.Last && h.Last <= at:
		h.Reason, err = fmt.Sprintf("the replica that answered ends at %d, not at %d", last, h.Last), errStillFailing
	default:
		err = r.reapply(ctx, h, at, batch)
	}
	if errors.Is(err, errStillFailing) {
		r.quarantined[h.Stream] = h
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
	r.Log.Info("a quarantined aggregate has caught up", "view", r.View, "stream", h.Stream, "attempts", h.Attempts)
	delete(r.quarantined, h.Stream)
	if !r.Lossy {
		return r.Quarantine.Remove(ctx, *h)
	}
	h.First, h.Last, h.Waiting, h.AppliedAt = first, 0, waiting, at
	return r.Quarantine.Put(ctx, *h)
}

var errStillFailing = errors.New("an event cannot be applied")

// reapply writes events of one aggregate at the view's current position. Events that were written
// are released, whatever happens to later ones.
func (r *Runner) reapply(ctx context.Context, h *quarantine.Entry, at uint64, batch []history.Message) error {
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
				return stillFailing(h, &c.Poison[0])
			}
		}
	}
	last := batch[len(batch)-1].Revision
	c.Released = []quarantine.Released{{Stream: h.Stream, UpTo: last}}
	err := r.Target.Apply(ctx, r.Partition, at, at, c)
	switch {
	case errors.Is(err, ErrUnappliable) && len(batch) == 1:
		batch[0].Bad = Refusal(err)
		return stillFailing(h, &batch[0])
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

// stillFailing moves the start of the quarantine to m and sets its reason.
func stillFailing(h *quarantine.Entry, m *history.Message) error {
	h.First, h.Reason = m.Revision, m.Bad.Error()
	return errStillFailing
}

// drop gives up the waiting events. The next event of the aggregate is applied as if those before
// it had been.
func (r *Runner) drop(ctx context.Context, h *quarantine.Entry, at uint64) error {
	err := r.Target.Apply(ctx, r.Partition, at, at, Changes{Released: []quarantine.Released{{Stream: h.Stream, UpTo: at}}})
	if err != nil {
		return err
	}
	h.Dropped, h.Last = true, max(h.Last, at)
	r.Log.Warn("events of a quarantined aggregate are dropped", "view", r.View, "stream", h.Stream,
		"first", h.First, "last", h.Last, "events", h.Waiting)
	return r.Quarantine.Put(ctx, *h)
}
