package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

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

// difference is one thing that is not as it must be.
type difference struct {
	Tier string `json:"tier"`
	Key  string `json:"key"` // "<agent>.<key>"
	What string `json:"what"`
}

// comparison is what the tiers hold, and whether it is what they must hold.
type comparison struct {
	Tiers       []reading    `json:"tiers"`
	Equal       bool         `json:"equal"`
	Differences []difference `json:"differences,omitempty"`
}

// compare holds every tier that was read against what must be there.
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
			what = fmt.Sprintf("is there at version %d and must not be", g.Version)
		default:
			what = unlike(&w, &g)
		}
		if what != "" {
			all = append(all, difference{tier, name, what})
		}
	}
	return all
}

func unlike(want, got *readmodel.Entry) string {
	switch {
	case got.Version != want.Version || got.Revision != want.Revision:
		return fmt.Sprintf("version %d at revision %d, expected version %d at revision %d", got.Version, got.Revision, want.Version, want.Revision)
	case !bytes.Equal(got.Value, want.Value):
		return unlikeBytes(want.Value, got.Value)
	case want.Digest != "" && got.Digest != want.Digest:
		return fmt.Sprintf("digest %s, expected %s", got.Digest, want.Digest)
	}
	return ""
}

// unlikeBytes shows two values from where they part.
func unlikeBytes(want, got []byte) string {
	n := 0
	for n < min(len(want), len(got)) && want[n] == got[n] {
		n++
	}
	return fmt.Sprintf("%d bytes, %d expected, other from byte %d: %.40q, expected %.40q", len(got), len(want), n, got[n:], want[n:])
}

// maxDifferences is how many are printed.
const maxDifferences = 20

func (c *comparison) printDifferences(w io.Writer) {
	for i, d := range c.Differences {
		if i == maxDifferences {
			fmt.Fprintf(w, "  … and %s more (--json has all)\n", grouped(len(c.Differences)-i))
			return
		}
		fmt.Fprintf(w, "  %s  %s: %s\n", d.Tier, d.Key, d.What)
	}
}

// report prints the result, as JSON or as text.
func (c *demoCmd) report(out *output, result any, text func()) error {
	if !c.JSON {
		text()
		return nil
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(result)
}
