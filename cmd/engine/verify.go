package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// verifyCmd folds the journal from the outside, as any client could, and holds
// KV, SQL and the archive against it.
type verifyCmd struct {
	target
	Postgres string        `help:"Postgres; default: as the engine's status says." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	Wait     time.Duration `help:"How long the views may take to reach the journal's head." default:"30s"`
	Repair   bool          `help:"Rewrite what differs from the journal, and verify again."`
	Sample   int           `help:"Check about N aggregates picked at random instead of everything." placeholder:"N"`
	JSON     bool          `name:"json" help:"Machine output."`
	Show     int           `help:"Differences to print." default:"20"`
}

// Validate lets kong refuse what cannot be, as a usage error.
func (c *verifyCmd) Validate() error {
	if c.Sample < 0 {
		return fmt.Errorf("--sample must be at least 1")
	}
	return nil
}

// verification is what verify works on.
type verification struct {
	*verifyCmd
	nc       *nats.Conn
	journal  *journal.Journal
	archive  verify.Copy // nil = without SQL
	hot      *hot.Hot
	progress *projections.Progress
	tiers    []verify.Tier
	known    []projections.Status // the views when they were last asked
}

func (c *verifyCmd) Run(ctx context.Context, out *output) error {
	connect := func() (*nats.Conn, error) { return c.connect() }
	if c.Repair { // the buckets may be anybody's to write, or not
		connect = func() (*nats.Conn, error) { return c.connectOperator(ctx) }
	}
	nc, err := connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	s, _, err := askStatus(ctx, nc, &c.target)
	if err != nil {
		return err
	}
	v := &verification{verifyCmd: c, nc: nc}
	if v.journal, err = journal.OpenExisting(ctx, nc, natsio.NewSubjects(c.SubjectPrefix)); err != nil {
		return err
	}
	if v.hot, v.progress, err = openHot(ctx, nc, v.journal); err != nil {
		return err
	}
	v.tiers = append(v.tiers, hotTier(v.hot))
	db, err := openSQL(&s, c.Postgres)
	if err != nil {
		return err
	}
	if db != nil {
		defer db.Close()
		archive := archive.New(db, archiveView)
		v.archive = archive
		v.tiers = append(v.tiers, durableTier(db, history.Truth{Journal: v.journal, Archive: archive}))
	}
	look := v.whole
	if c.Sample > 0 {
		look = v.sample
	}
	return v.run(ctx, out, v.labelled(look))
}

// run looks, and where it is asked to, repairs and looks again.
func (v *verification) run(ctx context.Context, out *output, look func(context.Context) (*verified, error)) error {
	found, err := look(ctx)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if v.Repair && len(found.Differences) > 0 {
		before := found.Differences
		if err := v.repair(ctx, before); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		if found, err = look(ctx); err != nil {
			return fmt.Errorf("verify after the repair: %w", err)
		}
		found.Repaired = without(before, found.Differences)
	}
	return v.print(out, found)
}

func (v *verification) repair(ctx context.Context, differences []verify.Difference) error {
	if err := resume(ctx, v.hot, v.journal, v.progress); err != nil {
		return err
	}
	return verify.Repair(ctx, v.journal, v.archive, v.tiers, mendable(differences))
}

// without are the differences that are no more.
func without(before, after []verify.Difference) []verify.Difference {
	type place struct {
		tier, key string
		revision  uint64
	}
	left := map[place]bool{}
	for _, d := range after {
		left[place{d.Tier, d.Key, d.Revision}] = true
	}
	gone := []verify.Difference{}
	for _, d := range before {
		if !left[place{d.Tier, d.Key, d.Revision}] {
			gone = append(gone, d)
		}
	}
	return gone
}

// whole verifies everything.
func (v *verification) whole(ctx context.Context) (*verified, error) {
	w := verify.Verifier{Journal: v.journal, Archive: v.archive, Tiers: v.tiers, Reached: v.reached}
	if isTerminal(os.Stderr) && !v.JSON {
		w.Step = func(n int) { fmt.Fprintf(os.Stderr, "\r%d events", n) }
		defer fmt.Fprint(os.Stderr, "\r\033[K")
	}
	report, err := w.Run(ctx)
	if err != nil {
		return nil, err
	}
	return &verified{Report: *report}, nil
}

// reached waits for the views; one that does not come is a difference itself.
func (v *verification) reached(ctx context.Context, heads []uint64) []verify.Difference {
	ctx, cancel := context.WithTimeout(ctx, v.Wait)
	defer cancel()
	var late []verify.Difference
	for {
		s, _, err := askStatus(ctx, v.nc, &v.target)
		if err != nil {
			return append(late, verify.Difference{Tier: "engine", What: "status: " + err.Error()})
		}
		v.known, late = s.Views, nil
		for _, w := range s.Views {
			if w.Name != "messages" && w.Position < heads[w.Partition] { // messages are not in the journal
				late = append(late, verify.Difference{Tier: w.Name, Key: fmt.Sprintf("partition %d", w.Partition), Partition: w.Partition,
					What: fmt.Sprintf("the view is at %d (%s %s), the journal at %d", w.Position, w.State, w.Reason, heads[w.Partition])})
			}
		}
		if len(late) == 0 {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return late
		}
	}
}
