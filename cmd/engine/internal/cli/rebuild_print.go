package cli

import (
	"errors"

	"github.com/dustin/go-humanize"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

func (c *rebuilding) printShadowPlan(p *durable.ShadowPlan) error {
	if c.out.AsJSON {
		return c.out.JSON(struct {
			View string `json:"view"`
			*durable.ShadowPlan
		}{"durable", p})
	}
	c.out.Printf(`durable     %s %s to fold, about %s (this machine folds %s/s)
            into tables beside the live ones; they need about %s of disk, as the live ones do
            then one transaction corrects the rows that differ; reads go on as before
`, Grouped(int(p.Events)), counted.Noun(p.Events, "event"), counted.Seconds(p.Seconds), Grouped(int(p.Rate)), humanize.IBytes(uint64(p.Bytes)))
	return nil
}

func (c *rebuilding) printFoldPlan(view, what string, p *rebuild.FoldPlan) error {
	if c.out.AsJSON {
		return c.out.JSON(struct {
			View string `json:"view"`
			*rebuild.FoldPlan
		}{view, p})
	}
	c.out.Printf("%-11s %s %s to fold, about %s (this machine folds %s/s), no disk\n            then %s\n",
		view, Grouped(int(p.Events)), counted.Noun(p.Events, "event"), counted.Seconds(p.Seconds), Grouped(int(p.Rate)), what)
	return nil
}

func (c *rebuilding) printDetached(schema string) error {
	if c.out.AsJSON {
		return c.out.JSON(map[string]string{"step": "aside", "schema": schema})
	}
	c.out.Printf("%-11s the events of the previous journal are kept in the schema %s\n", deployment.ArchiveView, schema)
	return nil
}

func (c *rebuilding) printRebuilt(r *rebuild.Rebuilt) error {
	if c.out.AsJSON {
		return c.out.JSON(r)
	}
	c.out.Printf("%-11s rebuilt from %s %s in %s%s; %s differed", r.View, Grouped(int(r.Events)), counted.Noun(r.Events, "event"),
		counted.Seconds(r.Seconds), folded(r.Rate), counted.Of(r.Rows, "row"))
	if r.Ahead > 0 {
		c.out.Printf(", %d are ahead of the view", r.Ahead)
	}
	c.out.Printf("\n            position %v, digest %.16s over %s %s, shadow %.16s; the view waited %s\n",
		r.Position, r.Digests.Live, Grouped(r.Digests.Rows), counted.Noun(r.Digests.Rows, "row"), r.Digests.Shadow, counted.Seconds(r.Held))
	for _, t := range r.Tables {
		if t.Updated+t.Inserted+t.Deleted > 0 {
			c.out.Printf("  %-9s %d corrected, %d added, %d removed\n", t.Kind, t.Updated, t.Inserted, t.Deleted)
		}
	}
	c.printRows(r.Keys, r.Rows)
	return nil
}

// folded is the speed of a fold; "" = the view only compares.
func folded(rate float64) string {
	if rate <= 0 {
		return ""
	}
	return " (folded " + Grouped(int(rate)) + "/s)"
}

func (c *rebuilding) printDeclared(r *deployment.RebuiltDeclared) error {
	if c.out.AsJSON {
		return c.out.JSON(r)
	}
	c.out.Printf("%-11s rebuilt in %s: %s %s\n", r.View, counted.Seconds(r.Seconds), Grouped(int(r.Rows)), counted.Noun(r.Rows, "row"))
	return nil
}

// printRestored prints the report of a rebuild in place, and fails with why
// when rows still differ.
func (c *rebuilding) printRestored(r *rebuild.ResetReport, why error) error {
	var err error
	if c.out.AsJSON {
		err = c.out.JSON(r)
	} else {
		c.out.Printf("%-11s compared with %s %s in %s%s; %s differed\n", r.View, Grouped(int(r.Events)), counted.Noun(r.Events, "event"),
			counted.Seconds(r.Seconds), folded(r.Rate), counted.Of(r.Rows, "row"))
		c.printRows(r.Keys, r.Rows)
		for _, k := range r.Left {
			c.out.Printf("  still different: %s: %s\n", k.Key, k.What)
		}
	}
	return errors.Join(err, why)
}

func (c *rebuilding) printRows(rows []rebuild.RowChange, total int) {
	for _, k := range rows {
		c.out.Printf("    %s: %s\n", k.Key, k.What)
	}
	if total > len(rows) {
		c.out.Printf("    … and %d more\n", total-len(rows))
	}
}
