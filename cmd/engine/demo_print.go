package main

import (
	"fmt"
	"io"
	"strconv"
)

// outcomes in the order and words in which they are told.
var outcomeWords = []struct{ outcome, word string }{
	{"accepted", "took effect"},
	{"superseded", "older than what was there (timestamp strategy): nothing changed, kept as facts"},
	{"rejected", "409: lost a race (reject strategy, expected_version), kept as facts"},
	{"replayed", "the same command id once more: the first receipt was returned"},
}

func (c *demoCmd) printTour(w io.Writer, r *tourResult, rd *reader, t *tour) {
	fmt.Fprintf(w, "%s agents (%s …) sent %s commands over %d NATS connections.\n",
		grouped(r.Agents), t.agent(0), grouped(r.Sent.Commands), len(t.links.conns))
	for _, o := range outcomeWords {
		fmt.Fprintf(w, "  %-10s %7s  %s\n", o.outcome, grouped(r.Outcomes[o.outcome]), o.word)
	}
	fmt.Fprintf(w, "  %s\n", r.Sent)
	fmt.Fprintf(w, "  durability %s: %s\n", rd.status.Durability, rd.status.Detail)
	for i, odd := range r.Odd {
		if i == maxDifferences {
			break
		}
		fmt.Fprintf(w, "  NOT AS IT MUST BE  %s\n", odd)
	}
	fmt.Fprintln(w, "\nThe same state, read in four ways:")
	r.comparison.print(w)
	r.sample(w, t.agent(0)+".counter")
	r.verdict(w)
	fmt.Fprintf(w, "  %.1f s in all\n", r.Seconds)
	c.printNext(w, t.agent(0), "claim")
}

// print is the table of the tiers.
func (c *comparison) print(w io.Writer) {
	fmt.Fprintf(w, "  %-7s %8s %8s %11s %9s  %s\n", "tier", "entries", "deleted", "superseded", "rejected", "read by")
	for _, t := range c.Tiers {
		if t.Off != "" {
			fmt.Fprintf(w, "  %-7s not read: %s\n", t.Tier, t.Off)
			continue
		}
		fmt.Fprintf(w, "  %-7s %8s %8s %11s %9s  %s%s\n", t.Tier, grouped(t.Entries),
			t.seen("deleted"), t.seen("superseded"), t.seen("rejected"), t.Via, t.sources())
	}
	fmt.Fprintln(w, "SHA-256 of all rows in each:")
	for _, t := range c.Tiers {
		if t.Off == "" {
			fmt.Fprintf(w, "  %-7s %s\n", t.Tier, t.Digest)
		}
	}
}

// seen is a count, or a dash where the tier does not tell.
func (t *reading) seen(what string) string {
	if n, told := t.Seen[what]; told {
		return grouped(n)
	}
	return "-"
}

func (t *reading) sources() (text string) {
	for _, source := range []string{"memory", "kv", "sql", "journal"} {
		if n := t.Seen["from "+source]; n > 0 {
			text += ", " + grouped(n) + " from " + source
		}
	}
	return text
}

// sample shows one entry as each tier has it.
func (c *comparison) sample(w io.Writer, name string) {
	fmt.Fprintf(w, "For instance %s:\n", name)
	for _, t := range c.Tiers {
		if e, there := t.rows[name]; there {
			fmt.Fprintf(w, "  %-7s version %d, revision %d, %s\n", t.Tier, e.Version, e.Revision, e.Value)
		}
	}
}

func (c *comparison) verdict(w io.Writer) {
	read := 0
	for _, t := range c.Tiers {
		if t.Off == "" {
			read++
		}
	}
	if !c.Equal {
		fmt.Fprintf(w, "NOT EQUAL: %s differences.\n", grouped(len(c.Differences)))
		c.printDifferences(w)
		return
	}
	ways := map[bool]string{true: "All four", false: "The " + strconv.Itoa(read) + " that were read"}[read == len(c.Tiers)]
	fmt.Fprintf(w, "%s are equal, byte for byte.\n", ways)
}

// printNext says what to look at.
func (c *demoCmd) printNext(w io.Writer, agent, key string) {
	root := c.target.subject("")
	fmt.Fprintln(w, "\nLook closer:")
	fmt.Fprintf(w, "  %s\n", c.hint("query", fmt.Sprintf(`%squeries.agent.%s.history '{"key":"%s","losers":true}'`, root, agent, key)))
	fmt.Fprintf(w, "  %s\n", c.hint("watch", "'"+agent+".>'"))
	fmt.Fprintf(w, "  %s\n", c.hint("replay", "--subject '"+root+"events.agent."+agent+".>'"))
}
