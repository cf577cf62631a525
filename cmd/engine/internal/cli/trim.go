package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/projections/retention"
)

// Trim removes archived events from the journal.
type Trim struct {
	deployment.Target
	Before   string      `required:"" help:"Bound of the events to remove: an RFC 3339 time, an age (30d, 12h), or a revision." placeholder:"TIME|AGE|REV"`
	Plan     bool        `help:"Show what would be removed; change nothing."`
	Yes      bool        `short:"y" help:"Do not ask for confirmation."`
	Postgres string      `help:"Postgres; default: as in the engine's status." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	Keys     keys.Source `embed:""`
}

// trimReport is the output of trim.
type trimReport struct {
	Done       bool                 `json:"done"`
	Events     int                  `json:"events"`
	Bytes      int64                `json:"bytes"`
	Streams    int                  `json:"streams"`
	Kept       int                  `json:"kept"`
	Seconds    float64              `json:"seconds"` // of the removal; in a plan an estimate
	Partitions []retention.TrimPlan `json:"partitions"`
}

// Validate refuses a bound that cannot be read.
func (c *Trim) Validate() error {
	_, err := parseBefore(c.Before, time.Now())
	return err
}

// Run implements the command.
func (c *Trim) Run(ctx context.Context, out *Output) error {
	trim, err := parseBefore(c.Before, time.Now())
	if err != nil {
		return err
	}
	nc, err := c.ConnectOperator(ctx, "archive")
	if err != nil {
		return err
	}
	defer nc.Close()
	s, _, err := c.Status(ctx, nc)
	if err != nil {
		return fmt.Errorf("trim needs the positions of the engine's views: %w", err)
	}
	stores, err := deployment.OpenStores(ctx, nc, &s, c.Postgres, &c.Keys)
	if err != nil {
		return err
	}
	if stores.DB == nil {
		return errors.New("the engine runs without SQL, so it has no archive, and a trim would lose events: refused")
	}
	defer stores.Close()
	j := stores.Journal
	trim.Journal, trim.Archive = j, stores.Archive()
	trim.Folded = func(ctx context.Context, p int) (uint64, string, error) { return c.folded(ctx, nc, j, p) }
	if trim.PurgeCost, err = j.PurgeCost(ctx); err != nil { // the account may have no room for it
		trim.PurgeCost = purgeCostSynced
		if s.Durability == "relaxed" {
			trim.PurgeCost = purgeCostRelaxed
		}
	}
	work := func(ctx context.Context) error {
		if !c.Plan {
			c.SubjectPrefix = s.Prefix
			recordAct(ctx, nc, &c.Target, "archive trim", "before "+c.Before)
		}
		return c.trim(ctx, out, trim, j.Partitions())
	}
	if c.Plan {
		return work(ctx)
	}
	err = coordination.WithLock(ctx, nc, "archive-trim", work)
	if errors.Is(err, coordination.ErrLocked) {
		return fmt.Errorf("another trim is running: %w", err)
	}
	return err
}

// folded is the revision that every view and every consumer of a partition has
// read, and which of them is the last.
func (c *Trim) folded(ctx context.Context, nc *nats.Conn, j *journal.Journal, p int) (uint64, string, error) {
	least, last, err := j.Acknowledged(ctx, p)
	if err != nil {
		return 0, "", err
	}
	s, _, err := c.Status(ctx, nc)
	if err != nil {
		return 0, "", err
	}
	for _, v := range s.Views {
		if v.Partition == p && v.Position < least {
			least, last = v.Position, "view "+v.Name
		}
	}
	return least, last, nil
}

func (c *Trim) trim(ctx context.Context, out *Output, trim *retention.Trim, partitions int) error {
	r := trimReport{}
	bar := NewProgress(-1, "events compared", "events")
	for p := range partitions {
		trim.Step = bar.Set
		plan, err := trim.Plan(ctx, p)
		if err != nil {
			bar.End()
			return err
		}
		r.add(plan)
	}
	bar.End()
	if c.Plan || r.Events == 0 {
		return c.print(out, &r)
	}
	if !out.AsJSON {
		if err := c.print(out, &r); err != nil {
			return err
		}
	}
	if err := c.agreed(); err != nil {
		return err
	}
	start := time.Now()
	for i := range r.Partitions {
		plan := &r.Partitions[i]
		trim.Measured = func(seconds float64) {
			if seconds > 1.5*plan.Seconds || seconds < plan.Seconds/1.5 {
				fmt.Fprintf(os.Stderr, "partition %d takes about %s at the measured speed\n", plan.Partition, asDuration(seconds))
			}
		}
		bar := NewProgress(plan.Purges, fmt.Sprintf("purges of partition %d", plan.Partition), "purges")
		trim.Step = bar.Set
		err := trim.Run(ctx, plan)
		bar.End()
		if err != nil {
			return err
		}
	}
	r.Done, r.Seconds = true, time.Since(start).Seconds()
	return c.print(out, &r)
}

// Times of one purge on an idle disk, without the search for its events. They are taken where the
// server's disk cannot be measured.
const (
	purgeCostSynced  = 1500 * time.Microsecond // with a sync of the disk
	purgeCostRelaxed = 350 * time.Microsecond
)

func (r *trimReport) add(p retention.TrimPlan) {
	r.Partitions = append(r.Partitions, p)
	r.Events, r.Bytes, r.Streams, r.Kept = r.Events+p.Events, r.Bytes+p.Bytes, r.Streams+p.Streams, r.Kept+p.Kept
	r.Seconds += p.Seconds
}

func (c *Trim) print(out *Output, r *trimReport) error {
	if out.AsJSON {
		return out.JSON(r)
	}
	took := asDuration(r.Seconds)
	if r.Done {
		out.Printf("trimmed %s in %s; queries read from the archive\n", counted.Of(r.Events, "event"), took)
		return nil
	}
	for _, p := range r.Partitions {
		held := ""
		if p.LimitedBy != "" {
			held = ", limited by " + p.LimitedBy
		}
		out.Printf("partition %d up to revision %d%s: remove %s of %s, keep %d as the last of theirs\n",
			p.Partition, p.Cut, held, counted.Of(p.Events, "event"), counted.Of(p.Streams, "aggregate"), p.Kept)
	}
	if r.Events == 0 {
		out.Printf("nothing to trim\n")
		return nil
	}
	out.Printf("the archive has all of them, byte for byte; removing %s, %d bytes, takes about %s\n", counted.Of(r.Events, "event"), r.Bytes, took)
	return nil
}

func asDuration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(10 * time.Millisecond)
}

// agreed asks on a terminal; elsewhere --yes is required.
func (c *Trim) agreed() error {
	if c.Yes {
		return nil
	}
	if !isTerminal(os.Stderr) || !isTerminal(os.Stdin) {
		return usagef("trim removes events from the journal: give --yes to confirm, or --plan to change nothing")
	}
	fmt.Fprint(os.Stderr, "Remove them from the journal? [y/N] ")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was trimmed")
	}
	return nil
}

// parseBefore reads the bound of a trim.
func parseBefore(text string, now time.Time) (*retention.Trim, error) {
	if rev, err := strconv.ParseUint(text, 10, 64); err == nil {
		return &retention.Trim{Revision: max(rev, 1)}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return &retention.Trim{Time: at}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 {
			return &retention.Trim{Time: now.Add(-time.Duration(n * 24 * float64(time.Hour)))}, nil
		}
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return &retention.Trim{Time: now.Add(-age)}, nil
	}
	return nil, fmt.Errorf("--before: %q is neither an RFC 3339 time, nor an age such as 30d or 12h, nor a revision", text)
}
