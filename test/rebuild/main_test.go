// Package rebuild tests rebuilds of views beside a running engine and under
// load, rebuilds that are killed at each step, and a journal that changes under
// the views.
package rebuild

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// manual switches lifecycles off: entries of an inactive agent may be absent in
// KV.
var manual = harness.Config{Env: []string{"TIDEMARK_LIFECYCLE=manual"}}

// report is the last line of `engine rebuild --json`.
type report struct {
	View     string   `json:"view"`
	Rows     int      `json:"rows"`
	Position []uint64 `json:"position"`
	Keys     []struct {
		Key string `json:"key"`
	} `json:"keys"`
	Digests struct {
		Live   string `json:"live"`
		Shadow string `json:"shadow"`
	} `json:"digests"`
}

// rebuild rebuilds one view, which must succeed.
func rebuild(t *testing.T, e *harness.Engine, view string, args ...string) report {
	t.Helper()
	r, ok := rebuildAll(t, e, view, args...)[view]
	if !ok {
		t.Fatalf("rebuild %s %v reports nothing", view, args)
	}
	return r
}

// rebuildAll rebuilds a view or all, and returns the reports by view.
func rebuildAll(t *testing.T, e *harness.Engine, view string, args ...string) map[string]report {
	t.Helper()
	got := e.Run("rebuild", append([]string{view, "--json"}, args...)...)
	if got.Code != 0 {
		t.Fatalf("rebuild %s %v ended with %d: %s%s", view, args, got.Code, got.Stdout, got.Stderr)
	}
	reports := map[string]report{}
	for line := range strings.Lines(got.Stdout) {
		var r report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("rebuild printed %q: %v", line, err)
		}
		if r.View != "" {
			reports[r.View] = r
		}
		if r.Digests.Live != r.Digests.Shadow {
			t.Errorf("the digests are %+v", r.Digests)
		}
	}
	return reports
}

// fill writes n entries of each of two agents, twice, and some rows of other
// kinds.
func fill(t *testing.T, c *harness.Client, n int) {
	t.Helper()
	for i := range 2 * n {
		c.MustSet(t, "a", fmt.Sprint("k", i%n), i, nil)
		c.MustSet(t, "b", fmt.Sprint("k", i%n), map[string]any{"n": i}, nil)
	}
	for i := range 3 {
		id := fmt.Sprint("x", i)
		for _, cmd := range []struct {
			subject string
			body    harness.M
		}{
			{"task." + id + ".create", harness.M{"kind": "k", "payload": harness.M{"n": 1}}},
			{"session." + id + ".open", harness.M{"owner": "ann"}},
			{"config." + id + ".set", harness.M{"key": "a.b", "value": i}},
		} {
			if _, err := c.Command(t.Context(), "commands."+cmd.subject, "", cmd.body); err != nil {
				t.Fatal(err)
			}
		}
	}
}
