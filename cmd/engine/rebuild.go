package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

// rebuildCmd folds views anew beside the running engine.
type rebuildCmd struct {
	target
	View     string `arg:"" help:"durable, hot, archive, feeds or all."`
	Plan     bool   `help:"Say what would be done, how long it takes and how much room it needs; change nothing."`
	Accept   bool   `name:"accept-journal" help:"Make the journal as it is now the view's, whichever the view was folded from."`
	Postgres string `help:"Postgres; default: as the engine's status says." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	JSON     bool   `name:"json" help:"Machine output: a line for each step, the last one the report."`
}

// rebuilders are the views that can be rebuilt, in the order of all.
var rebuilders = []struct {
	view string
	run  func(*rebuildCmd, context.Context, *rebuildEnv, *output) error
}{
	{"archive", (*rebuildCmd).archive}, // first: the others read it where the journal is trimmed
	{"durable", (*rebuildCmd).durable},
	{"hot", (*rebuildCmd).hot},
	{"feeds", (*rebuildCmd).feeds},
}

// rebuildEnv is what every rebuild works with.
type rebuildEnv struct {
	nc       *nats.Conn
	target   *target
	embedded bool
	prefix   string
	journal  *journal.Journal
	whole    history.Joined
	db       *pg.DB // nil = without SQL
	log      *slog.Logger
}

func (c *rebuildCmd) Validate() error {
	views := []string{}
	for _, r := range rebuilders {
		if c.View == r.view {
			return nil
		}
		views = append(views, r.view)
	}
	switch c.View {
	case "all":
		return nil
	case "messages":
		return errors.New("messages are not in the journal: what agents.messages has lost cannot be folded anew")
	}
	return fmt.Errorf("there is no view %q: %s, or all", c.View, strings.Join(views, ", "))
}

func (c *rebuildCmd) Run(ctx context.Context, out *output) error {
	nc, err := c.connectOperator(ctx)
	if err != nil {
		return err
	}
	defer nc.Close()
	s, _, err := askStatus(ctx, nc, &c.target)
	if err != nil {
		return err
	}
	env := &rebuildEnv{nc: nc, target: &c.target, embedded: s.NATS.Mode == "embedded", prefix: s.Prefix, log: slog.New(slog.DiscardHandler)}
	if env.whole, env.db, err = openWhole(ctx, nc, &s, c.Postgres); err != nil {
		return err
	}
	env.journal = env.whole.Trimmable.(*journal.Journal) // as openWhole opens it
	if env.db != nil {
		defer env.db.Close()
	}
	for _, r := range rebuilders {
		if c.View != "all" && c.View != r.view {
			continue
		}
		run := func(ctx context.Context) error { return r.run(c, ctx, env, out) }
		if c.Plan {
			err = run(ctx)
		} else if err = coordination.WithLock(ctx, nc, r.view, run); errors.Is(err, coordination.ErrLocked) {
			err = fmt.Errorf("view %s is being rebuilt already: %w", r.view, err)
		}
		if errors.Is(err, history.ErrForeignJournal) {
			err = fmt.Errorf("%w; --accept-journal goes on with the journal as it is", err)
		}
		if err != nil {
			return fmt.Errorf("rebuild %s: %w", r.view, err)
		}
	}
	return nil
}

// withoutSQL answers for the views that are in SQL: all can do without them.
func (c *rebuildCmd) withoutSQL() error {
	if c.View == "all" {
		return nil
	}
	return errors.New("the engine runs without SQL")
}

func (c *rebuildCmd) durable(ctx context.Context, env *rebuildEnv, out *output) error {
	if env.db == nil {
		return c.withoutSQL()
	}
	if c.Plan {
		return c.planDurable(ctx, env, out)
	}
	show := newSteps(out, c.JSON)
	done, err := rebuildDurable(ctx, env.whole, env.db, c.Accept, show.step)
	show.end()
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out, done)
	}
	return printRebuilt(out, done)
}

func rebuildDurable(ctx context.Context, src history.Source, db *pg.DB, accept bool, step func(rebuild.Step)) (*rebuild.Rebuilt, error) {
	if !accept {
		if err := projections.CheckJournal(ctx, src, durable.New(db, "durable")); err != nil {
			return nil, err
		}
	}
	shadow, err := durable.NewShadow(ctx, db, "durable", src.ID(), src.Partitions(), accept)
	if err != nil {
		return nil, err
	}
	r := rebuild.Rebuild{View: "durable", Source: src, Shadow: shadow, Accept: accept, Step: step}
	return r.Run(ctx)
}

func (c *rebuildCmd) planDurable(ctx context.Context, env *rebuildEnv, out *output) error {
	p, err := durable.PlanShadow(ctx, env.db, env.whole)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out, struct {
			View string `json:"view"`
			durable.ShadowPlan
		}{"durable", p})
	}
	_, err = fmt.Fprintf(out, `durable     %s events to fold, about %s (this machine folds %s/s)
            into tables beside the live ones, which need about %s of disk, as the live ones do
            then the rows that differ are made equal in one transaction; reads go on as before
`, grouped(int(p.Events)), seconds(p.Seconds), grouped(int(p.Rate)), bytesText(p.Bytes))
	return err
}

func printRebuilt(out *output, r *rebuild.Rebuilt) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s rebuilt from %s events in %s (folded %s/s); %d rows differed", r.View, grouped(int(r.Events)),
		seconds(r.Seconds), grouped(int(r.Rate)), r.Rows)
	if r.Ahead > 0 {
		fmt.Fprintf(&b, ", %d are ahead of the view", r.Ahead)
	}
	fmt.Fprintf(&b, "\n            position %v, digest %.16s over %s rows, shadow %.16s; the view waited %s\n",
		r.Position, r.Digests.Live, grouped(r.Digests.Rows), r.Digests.Shadow, seconds(r.Held))
	for _, t := range r.Tables {
		if t.Updated+t.Inserted+t.Deleted > 0 {
			fmt.Fprintf(&b, "  %-9s %d corrected, %d added, %d removed\n", t.Kind, t.Updated, t.Inserted, t.Deleted)
		}
	}
	for _, k := range r.Keys {
		fmt.Fprintf(&b, "    %s: %s\n", k.Key, k.What)
	}
	if r.Rows > len(r.Keys) {
		fmt.Fprintf(&b, "    … and %d more\n", r.Rows-len(r.Keys))
	}
	_, err := out.Write([]byte(b.String()))
	return err
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}

// bytesText is a size as people read it.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
