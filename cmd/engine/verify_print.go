package main

import (
	"encoding/json"
	"fmt"

	"github.com/tidemark-engine/tidemark/projections/verify"
)

// verified is what verify has found, and repaired.
type verified struct {
	verify.Report
	Repaired []verify.Difference `json:"repaired,omitempty"`
	Sample   *sampled            `json:"sample,omitempty"` // nil = everything was verified
}

func printCounts(out *output, name string, c *verify.Counts, more string) {
	fmt.Fprintf(out, "%-11s %d rows: %d equal, %d newer, %d expired, %d different%s\n",
		name, c.Rows, c.Equal, c.Newer, c.Expired, c.Differences, more)
}

func (v *verification) print(out *output, r *verified) error {
	if v.JSON {
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	} else {
		r.text(out, v.Show)
	}
	if !r.OK() {
		return fmt.Errorf("verify: %d differences%s%s", len(r.Differences), quarantinedOf(r.Differences), r.afterwards())
	}
	return nil
}

func (r *verified) afterwards() string {
	if r.Repaired == nil {
		return ""
	}
	return fmt.Sprintf(" left; %d repaired", len(r.Repaired))
}

// text is what people read.
func (r *verified) text(out *output, show int) {
	if r.Sample != nil {
		fmt.Fprintf(out, "sample      %d aggregates, %d events, chains checked; %d could not be judged\n",
			r.Sample.Checked, r.Sample.Events, len(r.Sample.Unsettled))
		lines(out, show, "  not judged ", r.Sample.Unsettled, func(u unsettled) string { return u.Stream + ": " + u.Why })
	} else {
		fmt.Fprintf(out, "journal     %d events of %d aggregates, chains checked; %d living entries, digest %.16s\n",
			r.Events, r.Aggregates, r.Entries, r.Digest)
		if r.Archive != nil {
			printCounts(out, "archive", r.Archive, "")
		}
		for _, t := range r.Tiers {
			printCounts(out, t.Name, &t.Counts, ", digest "+t.Digest[:16])
			for _, k := range t.Kinds {
				printCounts(out, "  "+k.Kind, &k.Counts, "")
			}
		}
	}
	one := func(d verify.Difference) string {
		if d.Quarantined != "" {
			d.What += " (quarantined " + d.Quarantined + ")"
		}
		return d.Tier + " " + d.Key + ": " + d.What
	}
	lines(out, show, "  repaired ", r.Repaired, one)
	lines(out, show, "  ", r.Differences, one)
	switch {
	case !r.OK():
	case r.Sample != nil:
		fmt.Fprintln(out, "verified: the sampled aggregates are equal in the journal, the archive, KV and SQL")
	default:
		fmt.Fprintln(out, "verified: the journal's fold, KV and SQL are equal")
	}
}

// lines prints some and counts the rest.
func lines[T any](out *output, show int, prefix string, all []T, line func(T) string) {
	for i, one := range all {
		if i == show {
			fmt.Fprintf(out, "  … and %d more (--show, --json)\n", len(all)-i)
			return
		}
		fmt.Fprintln(out, prefix+line(one))
	}
}
