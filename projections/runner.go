package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/trace"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// Target stores a view's rows together with its position, so that both are lost or kept together.
type Target interface {
	// Load returns the position from which a restart is safe: the target contains everything up to
	// it. Fails with ErrForeignJournal when the rows were folded from another journal than id.
	Load(ctx context.Context, partition int, id string) (uint64, error)
	// Apply writes the changes of the events after from, up to to, and advances the position.
	// Fails with ErrFenced when the position is not from. After any other error the write may have
	// taken effect; Load returns the position.
	Apply(ctx context.Context, partition int, from, to uint64, c Changes) error
}

// Runner keeps one partition of one view caught up with the journal.
type Runner struct {
	View      string
	Partition int
	Source    history.Source
	Target    Target
	Batching  Batching
	Progress  *Progress
	Log       *slog.Logger
	// Quarantine stores the aggregates that the view cannot apply; nil = the runner skips such
	// events, for targets that handle them. ReadStream reads their events again, see history.History.Of.
	Quarantine quarantine.Store
	ReadStream func(ctx context.Context, s events.AggregateName, after, upTo uint64, yield func(history.Message) error) error
	// Follows delays this view behind another view, Leads another view behind this one; nil =
	// neither. A view that follows needs a Quarantine.
	Follows, Leads *Gate
	// Lossy: a crash may lose the newest rows that the target has acknowledged, as in a bucket
	// that does not wait for the disk. A retry is then repeated after a restart that could have
	// lost its rows.
	Lossy bool
	// Restart delivers a reason to load the position again, for example that the target has lost its
	// rows; nil = never.
	Restart <-chan string
	// Applied is called for every batch that took effect, with the duration of the write. It must
	// not block.
	Applied func(events int, took time.Duration)
	// Why is what the status says of an error; nil = its text.
	Why func(error) string
	// Trace records spans for the sampled events; nil = none.
	Trace *trace.Tracer

	runnerLoop
	runnerState
}

// runnerLoop is what Run remembers from one batch to the next. Only its goroutine uses it.
type runnerLoop struct {
	checked   time.Time      // when the journal and the target were checked last
	silentAt  uint64         // position at the last check if the journal was beyond it, plus one
	last      applied        // last event applied
	complain  rate.Sometimes // limits the log lines of waits
	halts     rate.Sometimes // limits those of halts
	lastWrite time.Time      // end of the last write
	lastSize  int            // events in the last batch

	quarantined map[events.AggregateName]*quarantine.Entry
	// retried is the revision that was retried when the leading view released it.
	retried map[events.AggregateName]uint64
}

// States of a runner.
const (
	Starting = "starting"
	Running  = "running"
	Standby  = "standby"  // another engine runs it
	Waiting  = "waiting"  // the target or the journal is unavailable; the runner retries
	Degraded = "degraded" // runs, with some aggregates quarantined
	Halted   = "halted"   // an operator must decide

	Rebuilding = "rebuilding" // running, while a shadow is being folded beside it
)

// Run keeps the view caught up until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	r.setState(Starting, "")
	pause := newPause()
	r.complain = rate.Sometimes{First: 3, Interval: complainEvery}
	r.halts = rate.Sometimes{First: 3, Interval: complainEvery}
	for ctx.Err() == nil {
		before := r.Progress.At(r.Partition)
		err := r.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, history.ErrForeignJournal) {
			r.last = applied{}
			t, ok := r.Target.(Forgetter)
			if !ok {
				r.halt(ctx, err)
				continue
			}
			t.Forget(r.Partition)
			err = fmt.Errorf("what was read is dropped: %w", err)
		}
		if errors.Is(err, history.ErrRelayEnded) {
			continue // the leading view has loaded its position again
		}
		if r.Progress.At(r.Partition) > before {
			pause.Reset()
		}
		r.wait(ctx, pause.NextBackOff(), err)
	}
}

// complainEvery is the pause between two log lines of a view that waits, or halts, again and again. The
// status has its reason at any time.
const complainEvery = 10 * time.Second

// haltedPoll is the interval at which a halted view checks whether an operator has decided.
const haltedPoll = 2 * time.Second

// haltAdvice ends the reason of a halted view.
const haltAdvice = ` (restore the journal it was folded from, or accept this one: engine rebuild all --accept-journal)`

func (r *Runner) halt(ctx context.Context, err error) {
	if first := r.setState(Halted, err.Error()+haltAdvice); first {
		r.halts.Do(func() { r.say(slog.LevelError, "view halted", err) })
		r.Progress.Reset(r.Partition, 0) // no reader may take the rows for those of this journal
	}
	t := time.NewTimer(haltedPoll)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow applies events from the checkpoint on until an operation fails.
func (r *Runner) follow(ctx context.Context) error {
	// gofail: var viewLoad struct{}
	// return context.DeadlineExceeded
	from, err := r.Target.Load(ctx, r.Partition, r.Source.ID())
	if err != nil {
		return fmt.Errorf("load the checkpoint: %w", err)
	}
	head, err := r.Source.Head(ctx, r.Partition)
	if err != nil {
		return err
	}
	if from > head {
		return fmt.Errorf("%w: the view is at %d, the journal ends at %d: was the journal shortened or restored from a backup?",
			history.ErrForeignJournal, from, head)
	}
	if err := CheckDigest(ctx, r.Source, r.Target, r.Partition); err != nil {
		return err
	}
	r.Progress.Reset(r.Partition, from)
	if r.last.revision != from {
		r.last = applied{}
	}
	if err := r.loadQuarantine(ctx, from); err != nil {
		return err
	}
	if r.Leads != nil {
		r.Leads.reset(r.Partition, from)
	}
	cur, err := r.read(ctx, from)
	if err != nil {
		return err
	}
	defer cur.Stop()
	r.setState(Running, "")
	r.checked, r.silentAt = time.Now(), 0
	for {
		changed := r.changed()
		if err := r.runRequests(ctx, from); err != nil {
			return err
		}
		batch, err := r.collect(ctx, cur, from, changed)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			continue // a request has arrived
		}
		to := batch[len(batch)-1].Revision
		if err := r.apply(ctx, from, to, batch); err != nil {
			return err
		}
		// gofail: var viewApplied struct{}
		// return context.DeadlineExceeded
		r.lastWrite, r.lastSize = time.Now(), len(batch)
		from = to
		r.last = applied{to, batch[len(batch)-1].Digest}
		r.Progress.Set(r.Partition, to)
		if r.Leads != nil {
			r.Leads.passed(r.Partition, to, batch)
		}
		r.setOldest(time.Time{})
	}
}

func (r *Runner) wait(ctx context.Context, d time.Duration, err error) {
	reason := err.Error()
	if r.Why != nil {
		reason = r.Why(err)
	}
	if first := r.setState(Waiting, reason); first {
		r.complain.Do(func() { r.say(slog.LevelWarn, "view waits", err) })
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
