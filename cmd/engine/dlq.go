package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// dlqCmd looks after the dead letters: enqueued commands and reactors' events
// that could not be carried out, and aggregates that a view cannot apply.
type dlqCmd struct {
	List  dlqListCmd  `cmd:"" help:"List them, oldest first."`
	Retry dlqRetryCmd `cmd:"" help:"Try one again, or all: a command under the same command id, a view's aggregate from the event on that it could not apply."`
	Drop  dlqDropCmd  `cmd:"" help:"Give one up, or all, for good."`
}

type dlqListCmd struct {
	target
	JSON bool `name:"json" help:"Machine output: one JSON object per line."`
}

func (c *dlqListCmd) Run(ctx context.Context, out *output) error {
	return c.letters(ctx, func(ctx context.Context, box *intake.DeadLetters) error {
		all, err := box.All(ctx)
		if err != nil {
			return err
		}
		_, views, err := held(ctx, box.Conn(), "all")
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

// printLetters prints each as JSON, its body as text or, where it is JSON, as
// that.
func printLetters(out *output, all []intake.DeadLetter, views []quarantine.Held) error {
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for i := range all {
		line := struct {
			*intake.DeadLetter
			Body any `json:"body"`
		}{&all[i], string(all[i].Body)}
		if json.Valid(all[i].Body) {
			line.Body = json.RawMessage(all[i].Body)
		}
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
	for i := range views {
		if err := lines.Encode(letterOf(&views[i])); err != nil {
			return err
		}
	}
	return nil
}

type dlqRetryCmd struct {
	target
	Which string `arg:"" help:"An id as listed (a number, or view:stream), or all."`
}

func (c *dlqRetryCmd) Run(ctx context.Context, out *output) error {
	return c.each(ctx, c.Which, out, quarantine.AskRetry, "enqueued again", func(ctx context.Context, box *intake.DeadLetters, l *intake.DeadLetter) error {
		return box.Retry(ctx, l)
	})
}

type dlqDropCmd struct {
	target
	Which string `arg:"" help:"An id as listed (a number, or view:stream), or all."`
}

func (c *dlqDropCmd) Run(ctx context.Context, out *output) error {
	return c.each(ctx, c.Which, out, quarantine.AskDrop, "dropped", func(ctx context.Context, box *intake.DeadLetters, l *intake.DeadLetter) error {
		return box.Drop(ctx, l.Seq)
	})
}

// letters opens the dead letters.
func (t *target) letters(ctx context.Context, use func(context.Context, *intake.DeadLetters) error) error {
	nc, err := t.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	box, err := intake.OpenDeadLetters(ctx, nc, natsio.NewSubjects(t.SubjectPrefix))
	if err != nil {
		return err
	}
	return use(ctx, box)
}

// each does the same with the letter of an id or with all that are there now,
// and prints each that is done.
func (t *target) each(ctx context.Context, which string, out *output, what, done string,
	do func(context.Context, *intake.DeadLetters, *intake.DeadLetter) error) error {
	if ofView(which) {
		_, err := t.askViews(ctx, out, which, what)
		return err
	}
	letters := 0
	err := t.letters(ctx, func(ctx context.Context, box *intake.DeadLetters) error {
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
				continue // somebody else was first
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
	views, err := t.askViews(ctx, out, which, what)
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
