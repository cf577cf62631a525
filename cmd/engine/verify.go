package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
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
	bucket, err := natsio.ReadBucket(ctx, nc, natsio.AgentStateBucket.Name)
	if err != nil {
		return err
	}
	v.Tiers = append(v.Tiers, projections.Tier{Name: "kv", TTL: bucket.TTL(), Each: bucket.Each})
	if s.Postgres.Mode != "off" {
		db, err := c.openSQL(&s)
		if err != nil {
			return err
		}
		defer db.Close()
		v.Tiers = append(v.Tiers, projections.Tier{Name: "sql", Each: func(ctx context.Context, yield func(readmodel.Entry, error)) error {
			return db.EachEntry(ctx, yield)
		}})
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

func (c *verifyCmd) openSQL(s *status) (*pg.DB, error) {
	url := c.Postgres
	if url == "" {
		if url = s.Postgres.URL; s.Postgres.Mode != "managed" && strings.Contains(url, "xxxxx") {
			return nil, fmt.Errorf("verify needs the password of the external Postgres: give --postgres or TIDEMARK_POSTGRES")
		}
	}
	return pg.Open(url)
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
			if v.Position < heads[v.Partition] {
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

func (c *verifyCmd) print(out *output, r *projections.Report) error {
	if c.JSON {
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "journal  %d events of %d aggregates, chains checked; %d living entries, digest %.16s\n",
			r.Events, r.Aggregates, r.Entries, r.Digest)
		for _, t := range r.Tiers {
			fmt.Fprintf(out, "%-7s  %d rows: %d equal, %d newer, %d expired, %d different, digest %.16s\n",
				t.Name, t.Rows, t.Equal, t.Newer, t.Expired, t.Differences, t.Digest)
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
