package grants_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/internal/grants"
)

// name draws ids that often match pattern's parts.
func name(t *rapid.T, label string) string {
	return rapid.StringOfN(rapid.SampledFrom([]rune("ab-")), 1, 5, -1).Draw(t, label)
}

func pattern(t *rapid.T) string {
	return rapid.StringOfN(rapid.SampledFrom([]rune("ab-**")), 1, 5, -1).Draw(t, "pattern")
}

// draw draws a grant.
func draw(t *rapid.T) grants.Grant {
	kind := rapid.SampledFrom([]string{"command", "query", "watch"}).Draw(t, "kind")
	aggregate := rapid.SampledFrom([]string{"agent", "task", "session", "config", "claim", "*"}).Draw(t, "aggregate")
	text := kind + " " + aggregate + ":" + pattern(t)
	if (aggregate == "agent" || aggregate == "config") && rapid.Bool().Draw(t, "keyed") {
		text += "." + pattern(t)
	}
	if (aggregate == "task" || aggregate == "claim") && kind != "watch" && rapid.Bool().Draw(t, "holder") {
		text += " when holder"
	}
	g, err := grants.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGrantsOnlyAdd: a grant more never takes a right away, and the sum of two sets allows
// what one of them does and nothing else.
func TestGrantsOnlyAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := draw(t), draw(t)
		a := rapid.SampledFrom(actions(name(t, "id"), name(t, "key"))).Draw(t, "action")
		first, _ := grants.NewSet("a*", one).Decide(a)
		second, _ := grants.NewSet("a*", two).Decide(a)
		both, _ := grants.NewSet("a*", one, two).Decide(a)
		if both != max(first, second) {
			t.Fatalf("%s, %s: %v; %v and %v", one, two, both, first, second)
		}
		back, err := grants.Parse(one.String())
		if err != nil || back.String() != one.String() {
			t.Fatalf("%s is read as %s, %v", one, back, err)
		}
	})
}

// TestCoversOnlyWhatIsGranted: when a wildcard subject is covered, each subject that it
// matches is.
func TestCoversOnlyWhatIsGranted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := grants.NewSet("a*", draw(t), draw(t))
		id, key := name(t, "id"), name(t, "key")
		filter := "$KV.AGENT_STATE." + rapid.SampledFrom([]string{id, "*"}).Draw(t, "token") + "." + rapid.SampledFrom([]string{key, "*", ">", key + ".>"}).Draw(t, "rest")
		if !set.Covers("KV_AGENT_STATE", filter) {
			return
		}
		for _, one := range []string{key, key + ".x"} {
			subject := "$KV.AGENT_STATE." + id + "." + one
			if subjectMatches(filter, subject) && !set.Covers("KV_AGENT_STATE", subject) {
				t.Fatalf("%q covers %s and not %s", set.Grants(), filter, subject)
			}
		}
	})
}

func subjectMatches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i := range f {
		if f[i] == ">" {
			return len(s) > i
		}
		if i >= len(s) || f[i] != "*" && f[i] != s[i] {
			return false
		}
	}
	return len(f) == len(s)
}
