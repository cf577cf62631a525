package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/history"
)

// foldOf folds with the target's own fold if it has one.
func (r *Runner) foldOf(batch []history.Message) Changes {
	batch = r.applyFrontQuarantine(batch)
	if own, ok := r.Target.(Folder); ok {
		return own.Fold(batch)
	}
	return Fold(batch)
}

// apply writes a batch and retries until it is in the target; only fencing, a foreign journal or a
// stop end it. While the target is unavailable the view lags.
func (r *Runner) apply(ctx context.Context, from, to uint64, batch []history.Message) error {
	pause := newPause()
	for {
		start := time.Now()
		err := r.write(ctx, from, to, batch)
		switch {
		case err == nil:
			if r.Applied != nil {
				r.Applied(len(batch), time.Since(start))
			}
			r.traceBatch(batch, start)
			r.setState(Running, "")
			return nil
		case errors.Is(err, ErrFenced), errors.Is(err, history.ErrForeignJournal):
			return err
		case errors.Is(err, ErrUnappliable) && r.Quarantine != nil && len(batch) > 1:
			return r.applyHalves(ctx, from, to, batch)
		case errors.Is(err, ErrUnappliable) && r.Quarantine != nil && !r.excludes(&batch[0]):
			batch[0].Bad = Refusal(err)
			continue
		}
		r.wait(ctx, pause.NextBackOff(), err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		at, err := r.Target.Load(ctx, r.Partition, r.Source.ID())
		switch {
		case errors.Is(err, history.ErrForeignJournal):
			return err
		case err == nil && at == to:
			r.setState(Running, "")
			return nil // the write took effect; its answer was lost
		case err == nil && at > from:
			return ErrFenced
		case err == nil && at < from:
			return fmt.Errorf("the target has lost its rows after revision %d; they are folded again", at)
		}
	}
}

// newPause is the pause between two attempts of a runner, longer each time.
func newPause() *backoff.ExponentialBackOff {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, 2*time.Second
	return pause
}

// A write may take writeTimeout, and writeGrace after the runner was stopped.
const (
	writeTimeout = 30 * time.Second
	writeGrace   = 3 * time.Second
)

// write folds a batch without the quarantined aggregates and applies it to the target. A stop does
// not interrupt a write that the target answers in time.
func (r *Runner) write(stop context.Context, from, to uint64, batch []history.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stop), writeTimeout)
	defer cancel()
	r.setWriting(time.Now())
	defer r.setWriting(time.Time{})
	defer context.AfterFunc(stop, func() {
		grace := time.NewTimer(writeGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-ctx.Done():
		}
	})()
	changes, err := r.fold(ctx, batch)
	if err != nil {
		return err
	}
	return r.Target.Apply(ctx, r.Partition, from, to, changes)
}

// applyHalves writes a batch that the target refuses as two halves, to find the refused event.
func (r *Runner) applyHalves(ctx context.Context, from, to uint64, batch []history.Message) error {
	half := len(batch) / 2
	mid := batch[half-1].Revision
	if err := r.apply(ctx, from, mid, batch[:half]); err != nil {
		return err
	}
	r.Progress.Set(r.Partition, mid)
	return r.apply(ctx, mid, to, batch[half:])
}

// Unappliable is an ErrUnappliable; cause is the reason that the quarantine shows.
func Unappliable(cause error) error { return &unappliable{cause} }

type unappliable struct{ cause error }

func (e *unappliable) Error() string   { return ErrUnappliable.Error() + ": " + e.cause.Error() }
func (e *unappliable) Unwrap() []error { return []error{ErrUnappliable, e.cause} }

// Refusal is the cause of an [Unappliable], without what was being done, or else err.
func Refusal(err error) error {
	if why := new(unappliable); errors.As(err, &why) {
		return why.cause
	}
	return err
}

// ErrUnappliable means that a target refuses the content of an event: a retry does not help,
// leaving the event out does. The runner then quarantines the event's aggregate: this event and
// all later ones of the aggregate stay in the journal until an operator retries or drops them. The
// quarantine is stored before the view's position passes the event, so a crash never skips an
// event silently.
var ErrUnappliable = errors.New("an event that the view cannot apply")

// Folder is a target with its own fold, used instead of Fold.
type Folder interface {
	Fold(batch []history.Message) Changes
}
