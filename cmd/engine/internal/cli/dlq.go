package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// DLQ lists, retries and drops dead letters, which are enqueued commands and
// reactors' events that could not be processed, and quarantined aggregates.
type DLQ struct {
	List  DLQList  `cmd:"" help:"List them, oldest first."`
	Retry DLQRetry `cmd:"" help:"Retry one, or all: a command with the same command id, a quarantined aggregate from the event that the view could not apply."`
	Drop  DLQDrop  `cmd:"" help:"Drop one, or all, for good."`
}

// DLQList lists them.
type DLQList struct {
	deployment.Target
	JSON bool `name:"json" help:"Machine output: one JSON object per line."`
}

// Run implements the command.
func (c *DLQList) Run(ctx context.Context, out *Output) error {
	return openLetters(ctx, &c.Target, func(ctx context.Context, box *intake.DeadLetters) error {
		all, err := box.All(ctx)
		if err != nil {
			return err
		}
		views, err := deployment.Quarantined(ctx, box.Conn())
		if err != nil {
			return err
		}
		if c.JSON {
			return printLetters(out, all, views)
		}
		if len(all)+len(views) == 0 {
			fmt.Fprintln(out, "There are no dead letters.")
			return nil
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tTIME\tSOURCE\tSUBJECT\tREASON")
		for i := range all {
			l := &all[i]
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", l.Seq, l.Time.Format(time.RFC3339), l.Source, l.Subject, l.Reason)
		}
		for i := range views {
			l := letterOf(&views[i])
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\trevision %d (%d events wait): %s\n",
				l.ID, l.Time.Format(time.RFC3339), l.Source, l.Subject, l.Revision, l.Waiting, l.Reason)
		}
		return table.Flush()
	})
}

// printLetters prints JSON lines. A body that is not JSON is printed as text.
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

// DLQRetry retries them.
type DLQRetry struct {
	deployment.Target
	Which string `arg:"" help:"An id as listed (a number, or view:aggregate), or all."`
}

// Run implements the command.
func (c *DLQRetry) Run(ctx context.Context, out *Output) error {
	return eachLetter(ctx, &c.Target, c.Which, out, quarantine.RequestRetry, "enqueued again", func(ctx context.Context, box *intake.DeadLetters, l *intake.DeadLetter) error {
		return box.Retry(ctx, l)
	})
}

// DLQDrop drops them.
type DLQDrop struct {
	deployment.Target
	Which string `arg:"" help:"An id as listed (a number, or view:aggregate), or all."`
}

// Run implements the command.
func (c *DLQDrop) Run(ctx context.Context, out *Output) error {
	return eachLetter(ctx, &c.Target, c.Which, out, quarantine.RequestDrop, "dropped", func(ctx context.Context, box *intake.DeadLetters, l *intake.DeadLetter) error {
		return box.Drop(ctx, l.Seq)
	})
}

// openLetters opens the dead letters.
func openLetters(ctx context.Context, t *deployment.Target, use func(context.Context, *intake.DeadLetters) error) error {
	nc, err := t.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	box, err := intake.OpenDeadLetters(ctx, nc, t.Subjects())
	if err != nil {
		return err
	}
	return use(ctx, box)
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
	err := openLetters(ctx, t, func(ctx context.Context, box *intake.DeadLetters) error {
		some, err := chosen(ctx, box, which)
		if err != nil {
			return err
		}
		letters = len(some)
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
			fmt.Fprintf(out, "%d %s: %s\n", some[i].Seq, done, some[i].Subject)
		}
		return nil
	})
	if err != nil || which != "all" {
		return err
	}
	views, err := askViews(ctx, t, out, which, what)
	if err == nil && letters+views == 0 {
		fmt.Fprintln(out, "There are no dead letters.")
	}
	return err
}

func chosen(ctx context.Context, box *intake.DeadLetters, which string) ([]intake.DeadLetter, error) {
	if which == "all" {
		return box.All(ctx)
	}
	seq, err := strconv.ParseUint(which, 10, 64)
	if err != nil || seq == 0 {
		return nil, fmt.Errorf("%q is neither an id of a dead letter nor all", which)
	}
	l, err := box.Get(ctx, seq)
	return []intake.DeadLetter{l}, err
}
