package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/projections/retention"
)

// archiveTrimCmd removes from the journal what is in the archive.
type archiveTrimCmd struct {
	target
	Before   string `required:"" help:"What is older goes: an RFC 3339 time, an age (30d, 12h), or a revision." placeholder:"TIME|AGE|REV"`
	Plan     bool   `help:"Say what would go, and change nothing."`
	Yes      bool   `short:"y" help:"Do not ask."`
	JSON     bool   `name:"json" help:"Machine output."`
	Postgres string `help:"Postgres; default: as the engine's status says." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
}

// trimReport is what trim says.
type trimReport struct {
	Done       bool                 `json:"done"`
	Events     int                  `json:"events"`
	Bytes      int64                `json:"bytes"`
	Streams    int                  `json:"streams"`
	Kept       int                  `json:"kept"`
	Seconds    float64              `json:"seconds"` // of the removal; in a plan, what it is expected to take
	Partitions []retention.TrimPlan `json:"partitions"`
}

func (c *archiveTrimCmd) Run(ctx context.Context, out *output) error {
	trim, err := parseBefore(c.Before, time.Now())
	if err != nil {
		return err
	}
	nc, err := c.connectOperator(ctx)
	if err != nil {
		return err
	}
	defer nc.Close()
	s, _, err := askStatus(ctx, nc, &c.target)
	if err != nil {
		return fmt.Errorf("trim asks the engine how far its views are: %w", err)
	}
	journal, err := journal.OpenExisting(ctx, nc, natsio.NewSubjects(c.SubjectPrefix))
	if err != nil {
		return err
	}
	db, err := openSQL(&s, c.Postgres)
	if err != nil {
		return err
	}
	if db == nil {
		return errors.New("the engine is without SQL, so nothing is archived: what trim took away would be gone; it is refused")
	}
	defer db.Close()
	trim.Journal, trim.Archive = journal, archive.New(db, archiveView)
	trim.Folded = func(ctx context.Context, p int) (uint64, string, error) { return c.folded(ctx, nc, journal, p) }
	work := func(ctx context.Context) error { return c.trim(ctx, out, trim, journal.Partitions()) }
	if c.Plan {
		return work(ctx)
	}
	err = coordination.WithLock(ctx, nc, "archive-trim", work)
	if errors.Is(err, coordination.ErrLocked) {
		return fmt.Errorf("another trim is under way: %w", err)
	}
	return err
}

// folded is up to where every view and every consumer of a partition has read.
func (c *archiveTrimCmd) folded(ctx context.Context, nc *nats.Conn, journal *journal.Journal, p int) (uint64, string, error) {
	least, last, err := journal.Acknowledged(ctx, p)
	if err != nil {
		return 0, "", err
	}
	s, _, err := askStatus(ctx, nc, &c.target)
	if err != nil {
		return 0, "", err
	}
	for _, v := range s.Views {
		if v.Name != "messages" && v.Partition == p && v.Position < least {
			least, last = v.Position, "view "+v.Name
		}
	}
	return least, last, nil
}

func (c *archiveTrimCmd) trim(ctx context.Context, out *output, trim *retention.Trim, partitions int) error {
	r := trimReport{}
	bar := startProgress(0, "events compared")
	for p := range partitions {
		trim.Step = func(n int) { bar.done.Store(int64(n)) }
		plan, err := trim.Plan(ctx, p)
		if err != nil {
			bar.end()
			return err
		}
		r.add(plan)
	}
	bar.end()
	if c.Plan || r.Events == 0 {
		return c.print(out, &r)
	}
	if !c.JSON {
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
		bar := startProgress(plan.Purges, fmt.Sprintf("purges of partition %d", plan.Partition))
		trim.Step = func(n int) { bar.done.Store(int64(n)) }
		err := trim.Run(ctx, plan)
		bar.end()
		if err != nil {
			return err
		}
	}
	r.Done, r.Seconds = true, time.Since(start).Seconds()
	return c.print(out, &r)
}

// purgeCost is what one purge was measured to take, on two cores with the disk
// synced; it grows with how far a stream's events lie apart.
const purgeCost = 1500 * time.Microsecond

func (r *trimReport) add(p retention.TrimPlan) {
	r.Partitions = append(r.Partitions, p)
	r.Events, r.Bytes, r.Streams, r.Kept = r.Events+p.Events, r.Bytes+p.Bytes, r.Streams+p.Streams, r.Kept+p.Kept
	r.Seconds += (time.Duration(p.Purges) * purgeCost).Seconds()
}

func (c *archiveTrimCmd) print(out *output, r *trimReport) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(r)
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(10 * time.Millisecond)
	if r.Done {
		fmt.Fprintf(out, "trimmed %d events in %s; the archive answers for them\n", r.Events, took)
		return nil
	}
	for _, p := range r.Partitions {
		held := ""
		if p.Held != "" {
			held = ", held there by " + p.Held
		}
		fmt.Fprintf(out, "partition %d up to revision %d%s: %d events of %d streams go, %d stay as their streams' last\n",
			p.Partition, p.Cut, held, p.Events, p.Streams, p.Kept)
	}
	if r.Events == 0 {
		fmt.Fprintln(out, "nothing to trim")
		return nil
	}
	fmt.Fprintf(out, "all are in the archive, byte for byte; removing %d events, %d bytes, takes about %s\n", r.Events, r.Bytes, took)
	return nil
}

// agreed asks on a terminal; elsewhere --yes must have been given.
func (c *archiveTrimCmd) agreed() error {
	if c.Yes {
		return nil
	}
	if !isTerminal(os.Stderr) || !isTerminal(os.Stdin) {
		return errors.New("trim removes events from the journal: say --yes, or --plan to only look")
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

// parseBefore reads a bound: events before it go.
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
