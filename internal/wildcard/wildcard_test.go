package wildcard_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/internal/wildcard"
)

// TestMatchIsAGlob compares with a definition by recursion.
func TestMatchIsAGlob(t *testing.T) {
	var glob func(p, s string) bool
	glob = func(p, s string) bool {
		switch {
		case p == "":
			return s == ""
		case p[0] == '*':
			return glob(p[1:], s) || s != "" && glob(p, s[1:])
		}
		return s != "" && p[0] == s[0] && glob(p[1:], s[1:])
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringOfN(rapid.SampledFrom([]rune("ab-**")), 1, 5, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.SampledFrom([]rune("ab-")), 1, 5, -1).Draw(t, "text")
		if wildcard.Match(p, s) != glob(p, s) {
			t.Fatalf("%q and %q: %t", p, s, wildcard.Match(p, s))
		}
	})
}
