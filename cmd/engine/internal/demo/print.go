package demo

import (
	"fmt"
	"strconv"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/internal/counted"
)

// outcomeWords explain the outcomes, in the order in which they are printed.
var outcomeWords = []struct{ outcome, word string }{
	{"accepted", "took effect"},
	{"superseded", "older than the present value (timestamp strategy): no change, kept as events"},
	{"rejected", "409: lost a conflict (reject strategy, expected_version), kept as events"},
	{"replayed", "the same command id again: the first receipt was returned"},
}

func (c *Demo) printTour(w *cli.Output, r *tourResult, rd *reader, t *tour) {
	w.Printf("%s %s (%s …) sent %s %s over %s.\n",
		cli.Grouped(r.Agents), counted.Noun(r.Agents, "agent"), t.agent(0), cli.Grouped(r.Sent.Commands), counted.Noun(r.Sent.Commands, "command"),
		counted.Of(len(t.links.conns), "NATS connection"))
	for _, o := range outcomeWords {
		w.Printf("  %-10s %7s  %s\n", o.outcome, cli.Grouped(r.Outcomes[o.outcome]), o.word)
	}
	w.Printf("  %s\n", r.Sent)
	w.Printf("  durability %s: %s\n", rd.status.Durability, rd.status.Detail)
	for i, odd := range r.Odd {
		if i == maxDifferences {
			break
		}
		w.Printf("  UNEXPECTED  %s\n", odd)
	}
	w.Printf("\nThe same state, read in four ways:\n")
	r.comparison.print(w)
	r.sample(w, t.agent(0)+".counter")
	r.verdict(w)
	w.Printf("  %.1f s in all\n", r.Seconds)
	c.printNext(w, t.agent(0), "claim")
}

// print is the table of the tiers.
func (c *comparison) print(w *cli.Output) {
	w.Printf("  %-7s %8s %8s %11s %9s  %s\n", "tier", "entries", "deleted", "superseded", "rejected", "read by")
	for _, t := range c.Tiers {
		if t.Off != "" {
			w.Printf("  %-7s not read: %s\n", t.Tier, t.Off)
			continue
		}
		w.Printf("  %-7s %8s %8s %11s %9s  %s%s\n", t.Tier, cli.Grouped(t.Entries),
			t.seen("deleted"), t.seen("superseded"), t.seen("rejected"), t.Via, t.sources())
	}
	w.Printf("SHA-256 of all rows in each:\n")
	for _, t := range c.Tiers {
		if t.Off == "" {
			w.Printf("  %-7s %s\n", t.Tier, t.Digest)
		}
	}
}

// seen is a count, or a dash where the tier does not have it.
func (t *reading) seen(what string) string {
	if n, ok := t.Seen[what]; ok {
		return cli.Grouped(n)
	}
	return "-"
}

func (t *reading) sources() (text string) {
	for _, source := range []string{"memory", "kv", "sql", "journal"} {
		if n := t.Seen["from "+source]; n > 0 {
			text += ", " + cli.Grouped(n) + " from " + source
		}
	}
	return text
}

// sample prints one entry of each tier.
func (c *comparison) sample(w *cli.Output, name string) {
	w.Printf("For example %s:\n", name)
	for _, t := range c.Tiers {
		if e, there := t.rows[name]; there {
			w.Printf("  %-7s version %d, revision %d, %s\n", t.Tier, e.Version, e.Revision, e.Value)
		}
	}
}

func (c *comparison) verdict(w *cli.Output) {
	read := 0
	for _, t := range c.Tiers {
		if t.Off == "" {
			read++
		}
	}
	if !c.Equal {
		w.Printf("NOT EQUAL: %s %s.\n", cli.Grouped(len(c.Differences)), counted.Noun(len(c.Differences), "difference"))
		c.printDifferences(w)
		return
	}
	ways := map[bool]string{true: "All four", false: "The " + strconv.Itoa(read) + " that were read"}[read == len(c.Tiers)]
	w.Printf("%s are equal, byte for byte.\n", ways)
}

// printNext suggests commands.
func (c *Demo) printNext(w *cli.Output, agent, key string) {
	root := c.Subject("")
	w.Printf("\nLook closer:\n")
	w.Printf("  %s\n", c.hint(w.Program.Path, "query", fmt.Sprintf(`%squeries.agent.%s.history '{"key":"%s","losers":true}'`, root, agent, key)))
	w.Printf("  %s\n", c.hint(w.Program.Path, "watch", "'"+agent+".>'"))
	w.Printf("  %s\n", c.hint(w.Program.Path, "replay", "--subject '"+root+"events.agent."+agent+".>'"))
}
