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
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
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

// rebuilders rebuild one view each, in the order of all. The archive is first,
// because the others read it where the journal is trimmed.
var rebuilders = []struct {
	view string
	run  func(*rebuilding, context.Context) error
}{
	{deployment.ArchiveView, (*rebuilding).archive},
	{"durable", (*rebuilding).durable},
	{"messages", (*rebuilding).messages},
	{"hot", (*rebuilding).hot},
	{"feeds", (*rebuilding).feeds},
	{declaredViews, (*rebuilding).declared},
}

// rebuilding is one run of the command.
type rebuilding struct {
	*Rebuild
	nc       *nats.Conn
	embedded bool
	stores   *deployment.Stores
	log      *slog.Logger
	out      *Output
}

// Validate refuses what is not a view, and the view that cannot be rebuilt.
func (c *Rebuild) Validate() error {
	views := []string{}
	for _, r := range rebuilders {
		if c.View == r.view {
			return nil
		}
		views = append(views, r.view)
	}
	if isDeclared(c.View) {
		return nil
	}
	switch c.View {
	case "all":
		return nil
	case "message-feed":
		return errors.New("the stream AGENT_MESSAGES is in memory and keeps five minutes: the inboxes have the messages (engine rebuild messages)")
	case durable.Notifications:
		return errors.New("notifications have no rows to rebuild: they follow the durable view, also through its rebuild")
	}
	return fmt.Errorf("there is no view %q: %s, view.NAME, or all", c.View, strings.Join(views, ", "))
}

// Run implements the command.
func (c *Rebuild) Run(ctx context.Context, out *Output) error {
	nc, err := c.ConnectOperator(ctx)
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
	run := &rebuilding{c, nc, s.NATS.Embedded(), stores, slog.New(slog.DiscardHandler), out}
	for _, r := range rebuilders {
		if c.View != "all" && c.View != r.view && !(r.view == declaredViews && isDeclared(c.View)) {
			continue
		}
		one := func(ctx context.Context) error {
			if !c.Plan {
				recordAct(ctx, nc, &c.Target, "rebuild", r.view)
			}
			return r.run(run, ctx)
		}
		if c.Plan {
			err = one(ctx)
		} else if err = coordination.WithLock(ctx, nc, r.view, one); errors.Is(err, coordination.ErrLocked) {
			err = fmt.Errorf("view %s is being rebuilt already: %w", r.view, err)
		}
		if errors.Is(err, history.ErrForeignJournal) {
			err = fmt.Errorf("%w; --accept-journal continues with the present journal", err)
		}
		if err != nil {
			return fmt.Errorf("rebuild %s: %w", r.view, err)
		}
	}
	if c.View == "all" && c.Accept && !c.Plan { // the running engine executes commands again
		return stores.Journal.Accept(ctx)
	}
	return nil
}

// withoutSQL refuses a view in SQL that is named; all leaves it out.
func (c *Rebuild) withoutSQL() error {
	if c.View == "all" {
		return nil
	}
	return errors.New("the engine runs without SQL")
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
			s.bar = NewProgress(max(int(p.Of), 1), p.Name)
		}
		s.bar.Set(int(min(p.Events, p.Of)))
	case next || now.Sub(s.at) >= stepInterval || p.Events >= p.Of:
		s.at = now
		_ = s.out.JSON(p) // writing the report fails too
	}
	s.last = p
}
