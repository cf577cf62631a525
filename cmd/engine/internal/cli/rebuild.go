package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

// Rebuild folds views again beside the running engine.
type Rebuild struct {
	deployment.Target
	View     string      `arg:"" help:"durable, messages, hot, archive, feeds, view.NAME of a declared view, views for all declared ones, or all."`
	Plan     bool        `help:"Show the steps, the time and the disk space of the rebuild; change nothing."`
	Accept   bool        `name:"accept-journal" help:"Make the present journal the view's, whichever journal the view was folded from."`
	Postgres string      `help:"Postgres; default: as in the engine's status." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	Keys     keys.Source `embed:""`
}

// rebuilding is one run of the command.
type rebuilding struct {
	*Rebuild
	*deployment.Rebuilder
	nc   *nats.Conn
	out  *Output
	show *steps
}

// Validate refuses what is not a view, and the view that cannot be rebuilt.
func (c *Rebuild) Validate() error {
	if c.View == "all" {
		return nil
	}
	return deployment.CheckRebuild(c.View)
}

// Run implements the command.
func (c *Rebuild) Run(ctx context.Context, out *Output) error {
	nc, err := c.ConnectOperator(ctx, "rebuild")
	if err != nil {
		return err
	}
	defer nc.Close()
	s, _, err := c.Status(ctx, nc)
	if err != nil {
		return err
	}
	stores, err := deployment.OpenStores(ctx, nc, &s, c.Postgres, &c.Keys)
	if err != nil {
		return err
	}
	defer stores.Close()
	c.SubjectPrefix = s.Prefix
	run := &rebuilding{Rebuild: c, nc: nc, out: out}
	run.Rebuilder = &deployment.Rebuilder{
		Conn: nc, Stores: stores, Subjects: c.Subjects(), Embedded: s.NATS.Embedded(), Accept: c.Accept, Log: slog.New(slog.DiscardHandler),
		CaughtUp: run.caughtUp, Step: func(p rebuild.Step) { run.show.step(p) }, Detached: run.printDetached,
	}
	for _, view := range deployment.RebuildOrder {
		if c.View != "all" && c.View != view && !(view == deployment.DeclaredViewsName && deployment.IsDeclared(c.View)) {
			continue
		}
		if c.Plan {
			err = run.plan(ctx, view)
		} else {
			err = run.Locked(ctx, view, func(ctx context.Context) error {
				recordAct(ctx, nc, &c.Target, "rebuild", view)
				return run.rebuild(ctx, view)
			})
		}
		if errors.Is(err, deployment.ErrNoSQL) && c.View == "all" {
			continue // these views do not exist
		}
		if err != nil {
			return fmt.Errorf("rebuild %s: %w", view, err)
		}
	}
	if c.View == "all" && c.Accept && !c.Plan { // the running engine executes commands again
		return stores.Journal.Accept(ctx)
	}
	return nil
}

// each calls f for a view, or for each of the declared views that the command names.
func (c *rebuilding) each(ctx context.Context, view string, f func(view string) error) error {
	if view != deployment.DeclaredViewsName {
		return f(view)
	}
	if c.Stores.DB == nil {
		return deployment.ErrNoSQL
	}
	names, err := c.Stores.DeclaredViews(ctx)
	if err != nil {
		return err
	}
	if name, one := strings.CutPrefix(c.View, declared.ViewPrefix); one {
		names = []string{name} // one that is not there is refused with the reason
	}
	for _, name := range names {
		if err := f(declared.ViewPrefix + name); err != nil {
			return err
		}
	}
	return nil
}

func (c *rebuilding) plan(ctx context.Context, view string) error {
	return c.each(ctx, view, func(view string) error {
		p, err := c.Rebuilder.Plan(ctx, view)
		switch {
		case err != nil:
			return err
		case p.Shadow != nil:
			return c.printShadowPlan(p.Shadow)
		}
		return c.printFoldPlan(view, p.Then, p.Fold)
	})
}

func (c *rebuilding) rebuild(ctx context.Context, view string) error {
	return c.each(ctx, view, func(view string) error {
		c.show = c.steps()
		done, err := c.Rebuilder.Run(ctx, view)
		c.show.bar.End()
		switch {
		case err != nil:
			return err
		case done.Shadow != nil:
			return c.printRebuilt(done.Shadow)
		case done.Declared != nil:
			return c.printDeclared(done.Declared)
		}
		return c.printRestored(done.Reset, done.Left)
	})
}

// caughtUpTimeout bounds the wait for a running view before its rows are
// compared: a row that the view has yet to write would be restored for nothing.
const caughtUpTimeout = 3 * time.Second

// caughtUp waits until a view of the running engine has reached the heads.
func (c *rebuilding) caughtUp(view string) func(context.Context, []uint64) {
	return func(ctx context.Context, heads []uint64) {
		ctx, cancel := context.WithTimeout(ctx, caughtUpTimeout)
		defer cancel()
		for {
			s, _, err := c.Status(ctx, c.nc)
			behind := err != nil
			for _, v := range s.Views {
				if v.Name == view && v.State != projections.Halted && v.Position < heads[v.Partition] {
					behind = true
				}
			}
			if !behind || ctx.Err() != nil {
				return
			}
			_ = wait.Sleep(ctx, 20*time.Millisecond)
		}
	}
}

// steps shows the steps of a rebuild: as JSON lines for machines, as a progress
// bar on a terminal.
type steps struct {
	out  *Output // nil = no JSON
	bar  *Progress
	last rebuild.Step
	at   time.Time
}

// stepInterval is the shortest time between two lines of one step.
const stepInterval = 200 * time.Millisecond

func (c *rebuilding) steps() *steps {
	s := &steps{bar: &Progress{}}
	if c.out.AsJSON {
		s.out = c.out
	}
	return s
}

func (s *steps) step(p rebuild.Step) {
	next, now := p.Name != s.last.Name, time.Now()
	switch {
	case s.out == nil:
		if next {
			s.bar.End()
			s.bar = NewProgress(max(int(p.Of), 1), p.Name, "events")
		}
		s.bar.Set(int(min(p.Events, p.Of)))
	case next || now.Sub(s.at) >= stepInterval || p.Events >= p.Of:
		s.at = now
		_ = s.out.JSON(p) // writing the report fails too
	}
	s.last = p
}
