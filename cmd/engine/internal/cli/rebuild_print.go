package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

func (c *rebuilding) printShadowPlan(p *durable.ShadowPlan) error {
	if c.JSON {
		return c.out.JSON(struct {
			View string `json:"view"`
			*durable.ShadowPlan
		}{"durable", p})
	}
	_, err := fmt.Fprintf(c.out, `durable     %s events to fold, about %s (this machine folds %s/s)
            into tables beside the live ones; they need about %s of disk, as the live ones do
            then one transaction corrects the rows that differ; reads go on as before
`, Grouped(int(p.Events)), seconds(p.Seconds), Grouped(int(p.Rate)), humanize.IBytes(uint64(p.Bytes)))
	return err
}

func (c *rebuilding) printFoldPlan(view, what string, p *rebuild.FoldPlan) error {
	if c.JSON {
		return c.out.JSON(struct {
			View string `json:"view"`
			*rebuild.FoldPlan
		}{view, p})
	}
	_, err := fmt.Fprintf(c.out, "%-11s %s events to fold, about %s (this machine folds %s/s), no disk\n            then %s\n",
		view, Grouped(int(p.Events)), seconds(p.Seconds), Grouped(int(p.Rate)), what)
	return err
}

func (c *rebuilding) printDetached(schema string) error {
	if c.JSON {
		return c.out.JSON(map[string]string{"step": "aside", "schema": schema})
	}
	_, err := fmt.Fprintf(c.out, "%-11s the events of the previous journal are kept in the schema %s\n", deployment.ArchiveView, schema)
	return err
}

func (c *rebuilding) printRebuilt(r *rebuild.Rebuilt) error {
	if c.JSON {
		return c.out.JSON(r)
	}
	fmt.Fprintf(c.out, "%-11s rebuilt from %s events in %s (folded %s/s); %d rows differed", r.View, Grouped(int(r.Events)),
		seconds(r.Seconds), Grouped(int(r.Rate)), r.Rows)
	if r.Ahead > 0 {
		fmt.Fprintf(c.out, ", %d are ahead of the view", r.Ahead)
	}
	fmt.Fprintf(c.out, "\n            position %v, digest %.16s over %s rows, shadow %.16s; the view waited %s\n",
		r.Position, r.Digests.Live, Grouped(r.Digests.Rows), r.Digests.Shadow, seconds(r.Held))
	for _, t := range r.Tables {
		if t.Updated+t.Inserted+t.Deleted > 0 {
			fmt.Fprintf(c.out, "  %-9s %d corrected, %d added, %d removed\n", t.Kind, t.Updated, t.Inserted, t.Deleted)
		}
	}
	return c.printRows(r.Keys, r.Rows)
}

// printRestored prints the report of a rebuild in place, and fails with why
// when rows still differ.
func (c *rebuilding) printRestored(r *rebuild.ResetReport, why string) error {
	var err error
	if c.JSON {
		err = c.out.JSON(r)
	} else {
		fmt.Fprintf(c.out, "%-11s compared with %s events in %s (folded %s/s); %d rows differed\n", r.View, Grouped(int(r.Events)),
			seconds(r.Seconds), Grouped(int(r.Rate)), r.Rows)
		err = c.printRows(r.Keys, r.Rows)
		for _, k := range r.Left {
			fmt.Fprintf(c.out, "  still different: %s: %s\n", k.Key, k.What)
		}
	}
	if err == nil && why != "" && len(r.Left) > 0 {
		err = errors.New(why)
	}
	return err
}

func (c *rebuilding) printRows(rows []rebuild.RowChange, total int) (err error) {
	for _, k := range rows {
		_, err = fmt.Fprintf(c.out, "    %s: %s\n", k.Key, k.What)
	}
	if total > len(rows) {
		_, err = fmt.Fprintf(c.out, "    … and %d more\n", total-len(rows))
	}
	return err
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}
