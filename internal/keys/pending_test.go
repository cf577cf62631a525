package keys_test

import (
	"slices"
	"testing"

	"github.com/tidemark-engine/tidemark/internal/keys"
)

// An agent has one note of erasures that are to be cleaned. None of several commands is lost, in
// whatever order they begin, end and are cleaned.
func TestPending(t *testing.T) {
	type step struct {
		command  string
		revision uint64
		answered string
	}
	for name, c := range map[string]struct {
		steps       []step
		command     string
		revision    uint64
		all         []string
		interrupted []string
	}{
		"one":                        {[]step{{"c1", 0, ""}, {"c1", 5, "c1"}}, "c1", 5, []string{"c1"}, nil},
		"again":                      {[]step{{"c1", 0, ""}, {"c1", 5, "c1"}, {"c1", 5, "c1"}}, "c1", 5, []string{"c1"}, nil},
		"interrupted, under another": {[]step{{"c1", 0, ""}, {"c2", 0, ""}, {"c2", 5, "c2"}}, "c2", 5, []string{"c1", "c2"}, []string{"c1"}},
		"twice interrupted":          {[]step{{"c1", 0, ""}, {"c2", 0, ""}, {"c3", 0, ""}, {"c3", 5, "c3"}}, "c3", 5, []string{"c1", "c2", "c3"}, []string{"c1", "c2"}},
		"not cleaned yet":            {[]step{{"c1", 0, ""}, {"c1", 5, "c1"}, {"c2", 0, ""}}, "c2", 0, []string{"c1", "c2"}, nil},
		"nothing since":              {[]step{{"c1", 5, "c1"}, {"c2", 0, ""}, {"c1", 5, "c2"}}, "c1", 5, []string{"c1", "c2"}, nil},
		"repeated beside a later":    {[]step{{"c1", 5, "c1"}, {"c2", 0, ""}, {"c1", 5, "c1"}}, "c2", 0, []string{"c1", "c2"}, nil},
		"repeated after a later":     {[]step{{"c2", 9, "c2"}, {"c1", 5, "c1"}}, "c2", 9, []string{"c1", "c2"}, nil},
	} {
		m := newMemory()
		r := ring(t, m, keyFile(t, keys.NewSecret()))
		for _, s := range c.steps {
			if _, err := r.SetPending(t.Context(), keys.Pending{Agent: "a1", Command: s.command, Revision: s.revision}, s.answered); err != nil {
				t.Fatal(name, err)
			}
		}
		all, err := r.EachPending(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %v", name, all, err)
		}
		p := all[0]
		if got := slices.Sorted(slices.Values(p.Commands())); p.Command != c.command || p.Revision != c.revision || !slices.Equal(got, c.all) || !slices.Equal(slices.Sorted(slices.Values(p.Interrupted)), c.interrupted) {
			t.Errorf("%s: %+v", name, p)
		}
		// What is noted while the agent is cleaned stays.
		if _, err := r.SetPending(t.Context(), keys.Pending{Agent: "a1", Command: "c9"}, ""); err != nil {
			t.Fatal(err)
		}
		if err := r.ClearPending(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		if all, err = r.EachPending(t.Context()); err != nil || len(all) != 1 || all[0].Command != "c9" {
			t.Errorf("%s: the note of a later command is %v, %v", name, all, err)
			continue
		}
		if err := r.ClearPending(t.Context(), &all[0]); err != nil {
			t.Fatal(err)
		}
		if pending, err := r.IsPending(t.Context(), "a1"); pending || err != nil {
			t.Errorf("%s: still pending, %v", name, err)
		}
	}
}
