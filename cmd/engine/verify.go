package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// verifyCmd folds the journal from the outside, as any client could, and holds
// KV and SQL against it.
type verifyCmd struct {
	target
	Postgres string        `help:"Postgres; default: as the engine's status says." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	Wait     time.Duration `help:"How long the views may take to reach the journal's head." default:"30s"`
	JSON     bool          `name:"json" help:"Machine output."`
	Show     int           `help:"Differences to print." default:"20"`
}

func (c *verifyCmd) Run(ctx context.Context, out *output) error {
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	journal, err := natsio.OpenExisting(ctx, nc, natsio.NewSubjects(c.SubjectPrefix))
	if err != nil {
		return err
	}
	s, _, err := askStatus(ctx, nc, &c.target)
	if err != nil {
		return err
	}
	v := projections.Verifier{Source: journal, Reached: func(ctx context.Context, heads []uint64) []projections.Difference {
		return c.reached(ctx, nc, heads)
	}}
	if isTerminal(os.Stderr) && !c.JSON {
		v.Step = func(n int) { fmt.Fprintf(os.Stderr, "\r%d events", n) }
	}
	hot, err := hotTier(ctx, nc)
	if err != nil {
		return err
	}
	v.Tiers = append(v.Tiers, hot)
	db, err := openSQL(&s, c.Postgres)
	if err != nil {
		return err
	}
	if db != nil {
		defer db.Close()
		v.Tiers = append(v.Tiers, durableTier(db))
	}
	report, err := v.Run(ctx)
	if v.Step != nil {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return c.print(out, report)
}

// hotTier is the buckets, each with a TTL of its own.
func hotTier(ctx context.Context, nc *nats.Conn) (projections.Tier, error) {
	names := map[string]string{projections.KindEntry: natsio.AgentStateBucket.Name}
	for kind, cfg := range docBuckets {
		names[kind] = cfg.Name
	}
	t := projections.Tier{Name: "kv", Keeps: map[string]time.Duration{}, Evicts: true}
	buckets := map[string]*natsio.Bucket{}
	for kind, name := range names {
		b, err := natsio.ReadBucket(ctx, nc, name)
		if err != nil {
			return t, err
		}
		buckets[kind], t.Keeps[kind] = b, b.TTL()
	}
	t.Each = func(ctx context.Context, yield func(projections.Row)) error {
		for kind, b := range buckets {
			if err := b.EachRow(ctx, kind, yield); err != nil {
				return err
			}
		}
		return nil
	}
	return t, nil
}

// durableTier is the tables; nothing in them expires.
func durableTier(db *pg.DB) projections.Tier {
	return projections.Tier{Name: "sql", Each: db.EachRow, Keeps: map[string]time.Duration{
		projections.KindEntry: 0, readmodel.KindTask: 0, readmodel.KindSession: 0,
		readmodel.KindConfig: 0, readmodel.KindLifecycle: 0, projections.KindConflict: 0,
	}}
}

// reached waits for the views; one that does not come is a difference itself.
func (c *verifyCmd) reached(ctx context.Context, nc *nats.Conn, heads []uint64) []projections.Difference {
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	var late []projections.Difference
	for {
		s, _, err := askStatus(ctx, nc, &c.target)
		if err != nil {
			return append(late, projections.Difference{Tier: "engine", What: "status: " + err.Error()})
		}
		late = nil
		for _, v := range s.Views {
			if v.Name != "messages" && v.Position < heads[v.Partition] { // messages are not in the journal
				late = append(late, projections.Difference{Tier: v.Name, Key: fmt.Sprintf("partition %d", v.Partition),
					What: fmt.Sprintf("the view is at %d (%s %s), the journal at %d", v.Position, v.State, v.Reason, heads[v.Partition])})
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

func printCounts(out *output, name string, c *projections.Counts, more string) {
	fmt.Fprintf(out, "%-11s %d rows: %d equal, %d newer, %d expired, %d different%s\n",
		name, c.Rows, c.Equal, c.Newer, c.Expired, c.Differences, more)
}

func (c *verifyCmd) print(out *output, r *projections.Report) error {
	if c.JSON {
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "journal     %d events of %d aggregates, chains checked; %d living entries, digest %.16s\n",
			r.Events, r.Aggregates, r.Entries, r.Digest)
		for _, t := range r.Tiers {
			printCounts(out, t.Name, &t.Counts, ", digest "+t.Digest[:16])
			for _, k := range t.Kinds {
				printCounts(out, "  "+k.Kind, &k.Counts, "")
			}
		}
		for i, d := range r.Differences {
			if i == c.Show {
				fmt.Fprintf(out, "  … and %d more (--show, --json)\n", len(r.Differences)-i)
				break
			}
			fmt.Fprintf(out, "  %s %s: %s\n", d.Tier, d.Key, d.What)
		}
	}
	if !r.OK() {
		return fmt.Errorf("verify: %d differences", len(r.Differences))
	}
	if !c.JSON {
		fmt.Fprintln(out, "verified: the journal's fold, KV and SQL are equal")
	}
	return nil
}
