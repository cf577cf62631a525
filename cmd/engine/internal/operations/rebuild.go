package operations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// rebuilder is that of the command line, with the engine's own connection.
func (o *Operations) rebuilder(step func(rebuild.Step)) (*deployment.Rebuilder, error) {
	nc, err := o.conn()
	if err != nil {
		return nil, err
	}
	e := o.e.Load()
	return &deployment.Rebuilder{
		Conn: nc, Stores: e.Stores, Subjects: e.Subjects, Embedded: e.Embedded, Log: slog.New(slog.DiscardHandler), Step: step,
		CaughtUp: e.CaughtUp,
	}, nil
}

// planTimeout bounds a plan, which folds a sample.
const planTimeout = 20 * time.Second

// RebuildPlan implements console.Operations.
func (o *Operations) RebuildPlan(ctx context.Context, who console.Caller, view string) (plan console.RebuildPlan, err error) {
	if err := o.may(who, "rebuild"); err != nil {
		return plan, err
	}
	if err := checkRebuild(view); err != nil {
		return plan, err
	}
	r, err := o.rebuilder(nil)
	if err != nil {
		return plan, err
	}
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	p, err := r.Plan(ctx, view)
	if err != nil {
		return plan, console.Unavailable("rebuild.plan", err.Error())
	}
	plan = console.RebuildPlan{View: view, Then: p.Then}
	fold := p.Fold
	if p.Shadow != nil {
		fold, plan.Bytes = &p.Shadow.FoldPlan, p.Shadow.Bytes
		plan.Then = "one transaction corrects the rows that differ; reads go on as before"
	}
	plan.Events, plan.Rate, plan.Takes = fold.Events, fold.Rate, time.Duration(fold.Seconds*float64(time.Second))
	return plan, nil
}

// NotRebuilt implements console.Operations.
func (o *Operations) NotRebuilt(view string) string {
	if deployment.IsDeclared(view) && strings.HasSuffix(view, ".next") {
		return "is being built"
	}
	if err := deployment.CheckRebuild(view); err != nil {
		return err.Error()
	}
	return ""
}

func checkRebuild(view string) error {
	if view == deployment.DeclaredViewsName {
		return console.Rejected("rebuild.view", "Choose one declared view")
	}
	if err := deployment.CheckRebuild(view); err != nil {
		return console.Rejected("rebuild.view", err.Error())
	}
	return nil
}

// Rebuild implements console.Operations.
func (o *Operations) Rebuild(ctx context.Context, who console.Caller, id, view string) error {
	if err := o.may(who, "rebuild"); err != nil {
		return err
	}
	if err := checkRebuild(view); err != nil {
		return err
	}
	return o.jobs.begin(console.Job{ID: id, Kind: "rebuild", View: view, Actor: o.actor(who)}, func(ctx context.Context, change func(func(*console.Job))) error {
		r, err := o.rebuilder(func(s rebuild.Step) {
			change(func(j *console.Job) { j.Step, j.Events, j.Of = s.Name, s.Events, s.Of })
		})
		if err != nil {
			return err
		}
		return r.Locked(ctx, view, func(ctx context.Context) error {
			o.record(ctx, who, "rebuild", view)
			done, err := r.Run(ctx, view)
			if err != nil {
				return err
			}
			change(func(j *console.Job) { rebuilt(j, done) })
			return done.Left
		})
	})
}

// rebuilt puts the report into a job.
func rebuilt(j *console.Job, done *deployment.RebuildResult) {
	j.OK = true
	var rows []rebuild.RowChange
	switch {
	case done.Shadow != nil:
		s := done.Shadow
		j.Summary = []string{
			fmt.Sprintf("%s folded in %s, %.0f a second", counted.Of(s.Events, "event"), counted.Seconds(s.Seconds), s.Rate),
			fmt.Sprintf("%s differed, now corrected; the view waited %s", counted.Of(s.Rows, "row"), counted.Seconds(s.Held)),
			fmt.Sprintf("digest %.16s over %s, shadow %.16s", s.Digests.Live, counted.Of(s.Digests.Rows, "row"), s.Digests.Shadow),
		}
		rows, j.More = s.Keys, s.Rows-len(s.Keys)
	case done.Reset != nil:
		r := done.Reset
		j.Summary = []string{
			fmt.Sprintf("compared with %s in %s, %.0f a second", counted.Of(r.Events, "event"), counted.Seconds(r.Seconds), r.Rate),
			fmt.Sprintf("%s differed, now corrected", counted.Of(r.Rows, "row")),
		}
		rows, j.More = r.Keys, r.Rows-len(r.Keys)
	default:
		j.Summary = []string{fmt.Sprintf("%s in %s", counted.Of(done.Declared.Rows, "row"), counted.Seconds(done.Declared.Seconds))}
	}
	for _, row := range rows {
		j.Found = append(j.Found, console.Difference{Where: done.View, Key: row.Key, What: row.What})
	}
}

// shownDifferences bounds those that a result names.
const shownDifferences = 50

// Verify implements console.Operations.
func (o *Operations) Verify(ctx context.Context, who console.Caller, id string) error {
	if err := o.may(who, "verify"); err != nil {
		return err
	}
	return o.jobs.begin(console.Job{ID: id, Kind: "verify", Actor: o.actor(who)}, func(ctx context.Context, change func(func(*console.Job))) error {
		nc, err := o.conn()
		if err != nil {
			return err
		}
		o.record(ctx, who, "verify", "")
		v, err := deployment.NewVerification(ctx, nc, o.e.Load().Stores)
		if err != nil {
			return err
		}
		v.Wait = settleTimeout
		v.Step = func(events int) {
			change(func(j *console.Job) { j.Step, j.Events = "compare", uint64(max(events, 0)) })
		}
		v.Views = func(ctx context.Context) ([]projections.Status, error) {
			e := o.e.Load()
			heads, err := e.Heads(ctx)
			return e.Views(heads), err
		}
		found, err := v.Compare(ctx)
		if err != nil {
			return err
		}
		change(func(j *console.Job) { verified(j, found) })
		return nil
	})
}

// verified puts the report into a job.
func verified(j *console.Job, found *deployment.Verified) {
	j.OK = found.OK()
	counts := func(name string, c *verify.Counts) {
		j.Summary = append(j.Summary, fmt.Sprintf("%s: %s, %d equal, %d newer, %d expired, %d different", name, counted.Of(c.Rows, "row"), c.Equal, c.Newer, c.Expired, c.Differences))
	}
	j.Summary = []string{fmt.Sprintf("journal: %s of %s, chains checked", counted.Of(found.Events, "event"), counted.Of(found.Aggregates, "aggregate"))}
	if found.Archive != nil {
		counts("archive", found.Archive)
	}
	for i := range found.Tiers {
		counts(found.Tiers[i].Name, &found.Tiers[i].Counts)
	}
	for i := range found.Declared {
		counts("view."+found.Declared[i].View, &found.Declared[i].Counts)
	}
	for i, d := range found.Differences {
		if i == shownDifferences {
			j.More = len(found.Differences) - i
			break
		}
		what := d.What
		if d.Quarantined != "" {
			what += " (quarantined " + d.Quarantined + ")"
		}
		j.Found = append(j.Found, console.Difference{Where: d.Tier, Key: d.Key, What: what})
	}
}

// errNoSQL is for pages whose rows are in SQL.
var errNoSQL = console.Unavailable("sql.off", "This engine runs without SQL")

// sqlProblem is an error of the database without what a client may not know.
func sqlProblem(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return console.Unavailable("sql.away", "PostgreSQL does not answer now; the views wait for it")
}
