package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// Target keeps a view's rows together with its position, so that both are lost
// or kept as one.
type Target interface {
	// Load is the position from which a restart is safe: everything up to it is
	// in the target. Fails with ErrForeignJournal when it was folded from
	// another journal than id.
	Load(ctx context.Context, partition int, id string) (uint64, error)
	// Apply writes the changes of the journal entries after from up to to and
	// moves the position. Fails with ErrFenced when the position is not from.
	// Any other error may leave it done or not done; Load tells.
	Apply(ctx context.Context, partition int, from, to uint64, c Changes) error
}

// Runner keeps one view of one partition level with the journal.
type Runner struct {
	View      string
	Partition int
	Source    history.Source
	Target    Target
	Batching  Batching
	Progress  *Progress
	Log       *slog.Logger
	// Quarantine keeps what the view cannot apply; nil = it is passed over, for
	// targets that see to it themselves. Past is how it is read again, see
	// Truth.
	Quarantine quarantine.Store
	Past       func(ctx context.Context, s events.Stream, after, upTo uint64, yield func(history.Message) error) error
	// Follows keeps the view behind another one, Leads another one behind this;
	// nil = neither. A view that follows needs a Quarantine.
	Follows, Leads *Gate
	// Lossy: a crash may take the newest of what the target has acknowledged,
	// as it may of a bucket that does not wait for the disk. A repair is then
	// done again after a restart that could have lost it.
	Lossy bool
	// Applied is told of every batch that took effect, with how long its
	// writing took. It must not block.
	Applied func(events int, took time.Duration)

	wrote time.Time                          // when the last batch had been written
	size  int                                // of it
	held  map[events.Stream]*quarantine.Held // of Run alone

	retried map[events.Stream]uint64 // the revision that was retried when the view in front released it; of Run alone

	mu      sync.Mutex
	state   string // one of the states below
	reason  string
	rebuild bool
	oldest  time.Time // recorded time of the oldest event that waits; zero = none
}

// States of a runner.
const (
	Starting = "starting"
	Running  = "running"
	Standby  = "standby"  // another engine runs it
	Waiting  = "waiting"  // the target or the journal is away; it tries again
	Degraded = "degraded" // runs, but without some aggregates
	Halted   = "halted"   // an operator must decide

	Rebuilding = "rebuilding" // running, while its rows are folded anew beside it
)

// Run keeps the view level until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	r.set(Starting, "")
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, 2*time.Second
	for ctx.Err() == nil {
		before := r.Progress.At(r.Partition)
		err := r.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, history.ErrForeignJournal) {
			r.halt(ctx, err)
			continue
		}
		if r.Progress.At(r.Partition) > before {
			pause.Reset()
		}
		r.wait(ctx, pause.NextBackOff(), err)
	}
}

// haltedLook is how often a halted view looks whether somebody has decided.
const haltedLook = 2 * time.Second

// wayOn ends the reason of a halted view.
const wayOn = ` (bring back the journal it knows, or go on with this one: engine rebuild all --accept-journal)`

func (r *Runner) halt(ctx context.Context, err error) {
	if first := r.set(Halted, err.Error()+wayOn); first {
		r.Log.Error("view halted", "view", r.View, "partition", r.Partition, "error", err)
	}
	t := time.NewTimer(haltedLook)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow reads from the checkpoint until something fails.
func (r *Runner) follow(ctx context.Context) error {
	from, err := r.Target.Load(ctx, r.Partition, r.Source.ID())
	if err != nil {
		return fmt.Errorf("load the checkpoint: %w", err)
	}
	head, err := r.Source.Head(ctx, r.Partition)
	if err != nil {
		return err
	}
	if from > head {
		return fmt.Errorf("%w: it is at %d, the journal ends at %d: was the journal shortened or restored from a backup?",
			history.ErrForeignJournal, from, head)
	}
	if err := CheckDigest(ctx, r.Source, r.Target, r.Partition); err != nil {
		return err
	}
	r.Progress.Reset(r.Partition, from)
	if err := r.loadHeld(ctx, from); err != nil {
		return err
	}
	if r.Leads != nil {
		r.Leads.at.Reset(r.Partition, from)
	}
	cur, err := r.read(ctx, from)
	if err != nil {
		return err
	}
	defer cur.Stop()
	r.set(Running, "")
	for {
		changed := r.changed()
		if err := r.asked(ctx, from); err != nil {
			return err
		}
		batch, err := r.collect(ctx, cur, from, changed)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			continue // something was asked
		}
		to := batch[len(batch)-1].Revision
		if err := r.apply(ctx, from, to, batch); err != nil {
			return err
		}
		r.wrote, r.size = time.Now(), len(batch)
		from = to
		r.Progress.Set(r.Partition, to)
		if r.Leads != nil {
			r.Leads.at.Set(r.Partition, to)
		}
		r.waiting(time.Time{})
	}
}

// foldOf is the target's own fold, or the one of all others.
func (r *Runner) foldOf(batch []history.Message) Changes {
	batch = r.mark(batch)
	if own, ok := r.Target.(Folder); ok {
		return own.Fold(batch)
	}
	return Fold(batch)
}

// apply writes a batch until it is in the target, whatever it takes short of
// being fenced or stopped. While the target is away the view only lags.
func (r *Runner) apply(ctx context.Context, from, to uint64, batch []history.Message) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, 2*time.Second
	for {
		start := time.Now()
		err := r.write(ctx, from, to, batch)
		switch {
		case err == nil:
			if r.Applied != nil {
				r.Applied(len(batch), time.Since(start))
			}
			r.set(Running, "")
			return nil
		case errors.Is(err, ErrFenced), errors.Is(err, history.ErrForeignJournal):
			return err
		case errors.Is(err, ErrUnappliable) && r.Quarantine != nil && len(batch) > 1:
			return r.halve(ctx, from, to, batch)
		case errors.Is(err, ErrUnappliable) && r.Quarantine != nil && !r.leavesOut(&batch[0]):
			batch[0].Bad = err
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
			r.set(Running, "")
			return nil // it had been done; only the answer was lost
		case err == nil && at > from:
			return ErrFenced
		case err == nil && at < from:
			return fmt.Errorf("the target has lost what it had after %d; it is folded again", at)
		}
	}
}

// write folds a batch, without what the view leaves out, into the target. A
// stop must not cut it in two: it gets a time of its own.
func (r *Runner) write(ctx context.Context, from, to uint64, batch []history.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	changes, err := r.fold(ctx, batch)
	if err != nil {
		return err
	}
	return r.Target.Apply(ctx, r.Partition, from, to, changes)
}

// halve writes a batch of which something is refused as two, to find out what.
func (r *Runner) halve(ctx context.Context, from, to uint64, batch []history.Message) error {
	half := len(batch) / 2
	mid := batch[half-1].Revision
	if err := r.apply(ctx, from, mid, batch[:half]); err != nil {
		return err
	}
	r.Progress.Set(r.Partition, mid)
	return r.apply(ctx, mid, to, batch[half:])
}

func (r *Runner) wait(ctx context.Context, d time.Duration, err error) {
	if first := r.set(Waiting, err.Error()); first {
		r.Log.Warn("view waits", "view", r.View, "partition", r.Partition, "error", err)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// An event that a view cannot apply takes only its own aggregate out of that
// view: it and all later events of the aggregate are held back, in the journal
// where they are, until somebody asks for another try or gives them up. What is
// held is known before the view's position passes the event, so a crash never
// skips one silently.

// ErrUnappliable means that a target refuses events for what they are, not
// because it is away: trying again changes nothing, leaving them out does.
var ErrUnappliable = errors.New("projections: an event that the view cannot apply")

// Folder is a target with a fold of its own, instead of Fold.
type Folder interface {
	Fold(batch []history.Message) Changes
}
