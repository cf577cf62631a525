package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// DLQ lists, retries and drops dead letters, which are enqueued commands,
// reactors' events and tasks that could not be processed, and quarantined
// aggregates.
type DLQ struct {
	List  DLQList  `cmd:"" help:"List dead letters and quarantined aggregates, oldest first."`
	Retry DLQRetry `cmd:"" help:"Retry one dead letter, or all: a command with the same command id, a quarantined aggregate from the event that the view could not apply."`
	Drop  DLQDrop  `cmd:"" help:"Drop one dead letter, or all, for good."`
}

// DLQList lists them.
type DLQList struct {
	deployment.Target
}

// Run implements the command.
func (c *DLQList) Run(ctx context.Context, out *Output) error {
	return openLetters(ctx, &c.Target, func(ctx context.Context, _ *nats.Conn, box *intake.DeadLetters) error {
		all, err := box.All(ctx)
		if err != nil {
			return err
		}
		views, err := deployment.Quarantined(ctx, box.Conn())
		if err != nil {
			return err
		}
		if out.AsJSON {
			return printLetters(out, all, views)
		}
		if len(all)+len(views) == 0 {
			out.Printf("There are no dead letters.\n")
			return nil
		}
		out.Table("ID\tTIME\tSOURCE\tSUBJECT\tREASON", func(row func(string, ...any)) {
			for i := range all {
				l := &all[i]
				row("%d\t%s\t%s\t%s\t%s", l.Seq, l.Time.Format(time.RFC3339), l.Source, l.Subject, l.Reason)
			}
			for i := range views {
				l := letterOf(&views[i])
				row("%s\t%s\t%s\t%s\trevision %d (%d waiting): %s",
					l.ID, l.Time.Format(time.RFC3339), l.Source, l.Subject, l.Revision, l.Waiting, l.Reason)
			}
		})
		return nil
	})
}

// printLetters prints JSON lines. A body that is not
// JSON is printed as text.
func printLetters(out *Output, all []intake.DeadLetter, views []quarantine.Entry) error {
	for i := range all {
		line := struct {
			*intake.DeadLetter
			Body any `json:"body"`
		}{&all[i], string(all[i].Body)}
		if json.Valid(all[i].Body) {
			line.Body = json.RawMessage(all[i].Body)
		}
		if err := out.JSON(line); err != nil {
			return err
		}
	}
	for i := range views {
		if err := out.JSON(letterOf(&views[i])); err != nil {
			return err
		}
	}
	return nil
}

// DLQWhich names dead letters and quarantined aggregates.
type DLQWhich struct {
	deployment.Target
	Which string `arg:"" help:"An id as listed (a number, or view:aggregate), or all."`
}

// Validate refuses what is no id.
func (c *DLQWhich) Validate() error {
	if seq, err := strconv.ParseUint(c.Which, 10, 64); c.Which == "all" || ofView(c.Which) || err == nil && seq > 0 {
		return nil
	}
	return fmt.Errorf("%q is neither an id as 'engine dlq list' shows it (a number, or view:aggregate) nor all", c.Which)
}

// DLQRetry retries them.
type DLQRetry struct{ DLQWhich }

// Run implements the command.
func (c *DLQRetry) Run(ctx context.Context, out *Output) error {
	return eachLetter(ctx, &c.Target, c.Which, out, quarantine.RequestRetry, "enqueued again", func(ctx context.Context, box *intake.DeadLetters, l *intake.DeadLetter) error {
		return box.Retry(ctx, l)
	})
}

// DLQDrop drops them.
type DLQDrop struct{ DLQWhich }

// Run implements the command.
func (c *DLQDrop) Run(ctx context.Context, out *Output) error {
	return eachLetter(ctx, &c.Target, c.Which, out, quarantine.RequestDrop, "dropped", func(ctx context.Context, box *intake.DeadLetters, l *intake.DeadLetter) error {
		return box.Drop(ctx, l.Seq)
	})
}

// openLetters opens the dead letters.
func openLetters(ctx context.Context, t *deployment.Target, use func(context.Context, *nats.Conn, *intake.DeadLetters) error) error {
	nc, err := t.ConnectArea(ctx, "dlq")
	if err != nil {
		return err
	}
	defer nc.Close()
	box, err := intake.OpenDeadLetters(ctx, nc, t.Subjects())
	if err != nil {
		return err
	}
	return use(ctx, nc, box)
}

// eachLetter retries or drops the dead letter or quarantined aggregate with an
// id, or all of them, and prints each.
func eachLetter(ctx context.Context, t *deployment.Target, which string, out *Output, what, done string,
	do func(context.Context, *intake.DeadLetters, *intake.DeadLetter) error) error {
	if ofView(which) {
		_, err := askViews(ctx, t, out, which, what)
		return err
	}
	letters := 0
	err := openLetters(ctx, t, func(ctx context.Context, nc *nats.Conn, box *intake.DeadLetters) error {
		some, err := chosen(ctx, box, which)
		if err != nil {
			return err
		}
		if letters = len(some); letters > 0 {
			recordAct(ctx, nc, t, "dlq "+what, which)
		}
		for i := range some {
			one, cancel := context.WithTimeout(ctx, t.Timeout)
			err := do(one, box, &some[i])
			cancel()
			if errors.Is(err, intake.ErrNoDeadLetter) && which == "all" {
				continue // another client was faster
			}
			if err != nil {
				return err
			}
			if err := out.settled(strconv.FormatUint(some[i].Seq, 10), done, ": ", some[i].Subject); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || which != "all" {
		return err
	}
	views, err := askViews(ctx, t, out, which, what)
	if err == nil && letters+views == 0 && !out.AsJSON {
		out.Printf("There are no dead letters.\n")
	}
	return err
}

// settled prints what became of a dead letter or a quarantined aggregate.
func (o *Output) settled(id, result, separator, detail string) error {
	return o.Result(struct {
		ID     string `json:"id"`
		Result string `json:"result"`
		Detail string `json:"detail"`
	}{id, result, detail}, func() { o.Printf("%s %s%s%s\n", id, result, separator, detail) })
}

func chosen(ctx context.Context, box *intake.DeadLetters, which string) ([]intake.DeadLetter, error) {
	if which == "all" {
		return box.All(ctx)
	}
	seq, _ := strconv.ParseUint(which, 10, 64) // checked by Validate
	l, err := box.Get(ctx, seq)
	return []intake.DeadLetter{l}, err
}
