package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// digest is SHA-256 over the rows in the order of agent and key: each one's
// agent, key, version, revision, the digest of its last event, and its value,
// byte for byte.
func (r rows) digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(r)) {
		e := r[name]
		fmt.Fprintf(h, "%s %s %d %d %s %d\n", e.Agent, e.Key, e.Version, e.Revision, e.Digest, len(e.Value))
		h.Write(e.Value)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// difference is one entry that differs from what the demo expects.
type difference struct {
	Tier string `json:"tier"`
	Key  string `json:"key"` // "<agent>.<key>"
	What string `json:"what"`
}

// comparison is the content of the tiers, and whether it is the expected one.
type comparison struct {
	Tiers       []reading    `json:"tiers"`
	Equal       bool         `json:"equal"`
	Differences []difference `json:"differences,omitempty"`
}

// compare compares every tier that was read with the expected rows.
func compare(readings []reading, want rows) comparison {
	c := comparison{Tiers: readings}
	for _, tier := range readings {
		if tier.Off == "" {
			c.Differences = append(c.Differences, differ(tier.Tier, want, tier.rows)...)
		}
	}
	c.Equal = len(c.Differences) == 0
	return c
}

func differ(tier string, want, got rows) (all []difference) {
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		w, wanted := want[name]
		g, there := got[name]
		what := ""
		switch {
		case !there:
			what = "is missing"
		case !wanted:
			what = fmt.Sprintf("exists at version %d and must not", g.Version)
		default:
			what = differEntry(&w, &g)
		}
		if what != "" {
			all = append(all, difference{tier, name, what})
		}
	}
	return all
}

func differEntry(want, got *readmodel.Entry) string {
	switch {
	case got.Version != want.Version || got.Revision != want.Revision:
		return fmt.Sprintf("version %d at revision %d, expected version %d at revision %d", got.Version, got.Revision, want.Version, want.Revision)
	case !bytes.Equal(got.Value, want.Value):
		return differBytes(want.Value, got.Value)
	case want.Digest != "" && got.Digest != want.Digest:
		return fmt.Sprintf("digest %s, expected %s", got.Digest, want.Digest)
	}
	return ""
}

// differBytes shows two values from the first byte that differs.
func differBytes(want, got []byte) string {
	n := 0
	for n < min(len(want), len(got)) && want[n] == got[n] {
		n++
	}
	return fmt.Sprintf("%d bytes, %d expected, different from byte %d: %.40q, expected %.40q", len(got), len(want), n, got[n:], want[n:])
}

// maxDifferences is how many are printed.
const maxDifferences = 20

func (c *comparison) printDifferences(w *cli.Output) {
	for i, d := range c.Differences {
		if i == maxDifferences {
			w.Printf("  … and %s more (--json has all)\n", cli.Grouped(len(c.Differences)-i))
			return
		}
		w.Printf("  %s  %s: %s\n", d.Tier, d.Key, d.What)
	}
}
