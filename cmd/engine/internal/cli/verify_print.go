package cli

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// print prints the report and fails when there are differences.
func (c *Verify) print(out *Output, r *deployment.Verified) error {
	if err := out.Result(r, func() { printVerified(out, r, c.Show) }); err != nil || r.OK() {
		return err
	}
	text := fmt.Sprintf("verify: %s", counted.Of(len(r.Differences), "difference"))
	if n := len(r.Differences) - len(deployment.NotQuarantined(r.Differences)); n > 0 {
		text += fmt.Sprintf(", %d of them quarantined (engine dlq list)", n)
	}
	if r.Repaired != nil {
		text += fmt.Sprintf(" left; %d repaired", len(r.Repaired))
	}
	return fmt.Errorf("%s", text)
}

func printVerified(out *Output, r *deployment.Verified, show int) {
	if r.Sample != nil {
		out.Printf("sample      %s, %s, chains checked; %d could not be judged\n",
			counted.Of(r.Sample.Checked, "aggregate"), counted.Of(r.Sample.Events, "event"), len(r.Sample.Unsettled))
		printLines(out, show, "  not judged ", r.Sample.Unsettled, func(u deployment.Unsettled) string { return u.Stream + ": " + u.Why })
	} else {
		out.Printf("journal     %s of %s, chains checked; living entries: %d, digest %.16s\n",
			counted.Of(r.Events, "event"), counted.Of(r.Aggregates, "aggregate"), r.Entries, r.Digest)
		if r.Archive != nil {
			printCounts(out, "archive", r.Archive, "")
		}
		for _, t := range r.Tiers {
			printCounts(out, t.Name, &t.Counts, ", digest "+t.Digest[:16])
			for _, k := range t.Kinds {
				printCounts(out, "  "+k.Kind, &k.Counts, "")
			}
		}
		for i := range r.Declared {
			printCounts(out, declared.ViewPrefix+r.Declared[i].View, &r.Declared[i].Counts, "")
		}
	}
	agents := slices.Sorted(maps.Keys(r.Erased))
	printLines(out, show, "erased      ", agents, func(agent string) string {
		return fmt.Sprintf("agent %s: the content of %s, whose chains are checked", agent, counted.Of(r.Erased[agent], "event"))
	})
	line := func(d verify.Difference) string {
		if d.Quarantined != "" {
			d.What += " (quarantined " + d.Quarantined + ")"
		}
		return d.Tier + " " + d.Key + ": " + d.What
	}
	printLines(out, show, "  repaired ", r.Repaired, line)
	printLines(out, show, "  ", r.Differences, line)
	switch {
	case !r.OK():
	case r.Sample != nil:
		out.Printf("verified: the sampled aggregates are equal in the journal, the archive, KV and SQL\n")
	default:
		out.Printf("verified: the journal's fold, KV and SQL are equal\n")
	}
}

func printCounts(out *Output, name string, c *verify.Counts, more string) {
	out.Printf("%-11s %s: %d equal, %d newer, %d expired, %d different%s\n",
		name, counted.Of(c.Rows, "row"), c.Equal, c.Newer, c.Expired, c.Differences, more)
}

// printLines prints at most show lines and counts the rest.
func printLines[T any](out *Output, show int, prefix string, all []T, line func(T) string) {
	for i, one := range all {
		if i == show {
			out.Printf("  … and %d more (--show, --json)\n", len(all)-i)
			return
		}
		out.Printf("%s\n", prefix+line(one))
	}
}
