package trace_test

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/internal/trace"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParse(t *testing.T) {
	long := "k=" + strings.Repeat("v", 511)
	for _, c := range []struct{ parent, state, wantParent, wantState string }{
		{parent, "", parent, ""},
		{parent, "a=1,tenant@vendor=x y", parent, "a=1,tenant@vendor=x y"},
		{parent, "a=1, ,b=2", parent, "a=1, ,b=2"},
		{parent, "novalue", parent, ""},
		{parent, "A=1", parent, ""},
		{parent, "a=\x01", parent, ""},
		{parent, "a=b=c", parent, ""},
		{parent, long, parent, ""},
		{parent, strings.Repeat("a=1,", 33), parent, ""},
		{"", "a=1", "", ""},
		{strings.ToUpper(parent), "", "", ""},
		{parent + "-00", "", "", ""},
		{parent + " ", "", "", ""},
		{parent[:54], "", "", ""},
		{"ff" + parent[2:], "", "", ""},
		{"cc" + parent[2:] + "-what", "a=1", "cc" + parent[2:], "a=1"},
		{"cc" + parent[2:] + ".what", "", "", ""},
		{"00-" + strings.Repeat("0", 32) + parent[35:], "", "", ""},
		{parent[:36] + strings.Repeat("0", 16) + "-01", "", "", ""},
		{"no-trace", "", "", ""},
	} {
		got := trace.Parse(c.parent, c.state)
		if got.Parent != c.wantParent || got.State != c.wantState {
			t.Errorf("%q, %q is read as %+v", c.parent, c.state, got)
		}
		if id := got.ID(); (id != "") != (got.Parent != "") || id != "" && id != parent[3:35] {
			t.Errorf("%q has the trace id %q", c.parent, id)
		}
		if from := trace.From(trace.With(t.Context(), got)); from != got {
			t.Errorf("the context carries %+v, not %+v", from, got)
		}
	}
}
