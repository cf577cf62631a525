package operations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// letters opens the dead letters for a caller who may work on them.
func (o *Operations) letters(ctx context.Context, who console.Caller) (*intake.DeadLetters, error) {
	if err := o.may(who, "dlq"); err != nil {
		return nil, err
	}
	nc, err := o.conn()
	if err != nil {
		return nil, err
	}
	return intake.OpenDeadLetters(ctx, nc, o.e.Load().Subjects)
}

// DeadLetters implements console.Operations.
func (o *Operations) DeadLetters(ctx context.Context, who console.Caller, after uint64, limit int) (page console.DeadLetterPage, err error) {
	box, err := o.letters(ctx, who)
	if err != nil {
		return page, err
	}
	some, more, err := box.Page(ctx, after, limit)
	if err != nil {
		return page, err
	}
	page.More = more
	for i := range some {
		page.Letters = append(page.Letters, letterOf(&some[i]))
	}
	page.Total, err = box.Count(ctx)
	return page, err
}

// DeadLetter implements console.Operations.
func (o *Operations) DeadLetter(ctx context.Context, who console.Caller, seq uint64) (console.DeadLetter, error) {
	box, err := o.letters(ctx, who)
	if err != nil {
		return console.DeadLetter{}, err
	}
	l, err := box.Get(ctx, seq)
	if errors.Is(err, intake.ErrNoDeadLetter) {
		err = console.Rejected("dlq.gone", "There is no dead letter "+strconv.FormatUint(seq, 10)+" any more")
	}
	return letterOf(&l), err
}

func letterOf(l *intake.DeadLetter) console.DeadLetter {
	return console.DeadLetter{Seq: l.Seq, At: l.Time, Source: l.Source, Subject: l.Subject, Reason: l.Reason, CommandID: l.CommandID, Stored: l.Stored, Body: l.Body}
}

// Quarantined implements console.Operations.
func (o *Operations) Quarantined(ctx context.Context, who console.Caller, limit int) (some []console.Quarantined, more bool, err error) {
	if err := o.may(who, "dlq"); err != nil {
		return nil, false, err
	}
	nc, err := o.conn()
	if err != nil {
		return nil, false, err
	}
	held, more, err := deployment.QuarantinedPage(ctx, nc, limit)
	for i := range held {
		h := &held[i]
		some = append(some, console.Quarantined{
			ID: deployment.QuarantineID(h), View: h.View, Aggregate: string(h.Stream), Partition: h.Partition, Revision: h.First, Waiting: h.Waiting,
			Attempts: h.Attempts, Reason: h.Reason, Since: h.Since, Requested: h.Request,
		})
	}
	return some, more, err
}

// shownNames bounds the aggregates that a dry run names.
const shownNames = 20

// DryRun implements console.Operations.
func (o *Operations) DryRun(ctx context.Context, who console.Caller, which string) (a console.Affected, err error) {
	box, err := o.letters(ctx, who)
	if err != nil {
		return a, err
	}
	names := map[string]bool{}
	held, err := deployment.Quarantined(ctx, box.Conn())
	if err != nil {
		return a, err
	}
	for i := range held {
		if h := &held[i]; which == "all" || which == deployment.QuarantineID(h) {
			a.Events += h.Waiting
			names[string(h.Stream)] = true
		}
	}
	count := func(l *intake.DeadLetter) error {
		a.Letters++
		names[aggregateIn(l.Subject)] = true
		return nil
	}
	if seq, numbered := strconv.ParseUint(which, 10, 64); numbered == nil {
		var l intake.DeadLetter
		if l, err = box.Get(ctx, seq); err == nil {
			err = count(&l)
		}
	} else if which == "all" {
		err = box.Each(ctx, count)
	}
	if err == nil && a.Letters+a.Events == 0 {
		err = intake.ErrNoDeadLetter
	}
	if errors.Is(err, intake.ErrNoDeadLetter) {
		return a, console.Rejected("dlq.gone", "There is nothing to do: it was retried or dropped meanwhile")
	}
	a.Aggregates = len(names)
	for name := range names {
		a.Names = append(a.Names, name)
	}
	slices.Sort(a.Names)
	a.Names = a.Names[:min(len(a.Names), shownNames)]
	return a, err
}

// aggregateIn is the aggregate in the subject of a command or an event.
func aggregateIn(subject string) string {
	for _, root := range []string{"enqueue.", "events.", "tasks.", "commands."} {
		if i := strings.Index(subject, root); i >= 0 {
			parts := strings.Split(subject[i+len(root):], ".")
			return strings.Join(parts[:min(2, len(parts))], ".")
		}
	}
	return subject
}

// settleTimeout bounds the wait for a view that retries or drops.
const settleTimeout = 15 * time.Second

// Settle implements console.Operations.
func (o *Operations) Settle(ctx context.Context, who console.Caller, which string, drop bool) (done []console.Settled, err error) {
	box, err := o.letters(ctx, who)
	if err != nil {
		return nil, err
	}
	what, result := quarantine.RequestRetry, "enqueued again"
	if drop {
		what, result = quarantine.RequestDrop, "dropped"
	}
	o.record(ctx, who, "dlq "+what, which)
	if !strings.Contains(which, ":") {
		settle := func(l *intake.DeadLetter) error {
			var err error
			if drop {
				err = box.Drop(ctx, l.Seq)
			} else {
				err = box.Retry(ctx, l)
			}
			if errors.Is(err, intake.ErrNoDeadLetter) {
				return nil // another operator was faster
			}
			if err == nil {
				done = append(done, console.Settled{ID: strconv.FormatUint(l.Seq, 10), Result: result, Detail: l.Subject})
			}
			return err
		}
		if which == "all" {
			err = box.Each(ctx, settle)
		} else {
			var l intake.DeadLetter
			seq, _ := strconv.ParseUint(which, 10, 64) // 0 has none
			if l, err = box.Get(ctx, seq); err == nil {
				err = settle(&l)
			}
		}
		if errors.Is(err, intake.ErrNoDeadLetter) {
			err = console.Rejected("dlq.gone", "There is no dead letter "+which+" any more")
		}
		if err != nil || which != "all" {
			return done, err
		}
	}
	views, err := o.settleViews(ctx, which, what)
	if err == nil && len(views) == 0 && which != "all" {
		err = console.Rejected("dlq.gone", "No view has "+which+" in quarantine any more")
	}
	return append(done, views...), err
}

// settleViews asks the engines that run the views.
func (o *Operations) settleViews(ctx context.Context, which, what string) (done []console.Settled, err error) {
	nc, err := o.conn()
	if err != nil {
		return nil, err
	}
	some, err := deployment.QuarantinedAs(ctx, nc, which)
	if err != nil {
		return nil, err
	}
	q, err := natsquarantine.Open(ctx, nc, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	err = deployment.SettleQuarantined(ctx, q, some, what, func(s deployment.Settled) error {
		done = append(done, console.Settled{ID: s.ID, Result: s.Result, Detail: s.Detail})
		return nil
	})
	var late *deployment.NoResult
	if errors.As(err, &late) {
		err = console.Unavailable("dlq.no_result", fmt.Sprintf("%s: no result within %s: is the view running?", late.ID, settleTimeout))
	}
	return done, err
}
