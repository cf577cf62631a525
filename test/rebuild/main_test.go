// Package rebuild rebuilds views beside a running engine and under load, ends
// rebuilds at every step, and changes the journal under the views.
package rebuild

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		harness.Clean()
		os.Exit(code)
	}))
}

// manual keeps lifecycles out of the way: entries of an agent that is not
// active may be absent in KV.
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

// rebuild runs a rebuild to its end, which must be good.
func rebuild(t *testing.T, e *harness.Engine, view string, args ...string) (r report) {
	t.Helper()
	got := e.Run("rebuild", append([]string{view, "--json"}, args...)...)
	lines := strings.Split(strings.TrimSpace(got.Stdout), "\n")
	err := json.Unmarshal([]byte(lines[len(lines)-1]), &r)
	if got.Code != 0 || err != nil {
		t.Fatalf("rebuild %s %v ended with %d: %s%s (%v)", view, args, got.Code, got.Stdout, got.Stderr, err)
	}
	if r.View != view && view != "all" {
		t.Errorf("the report is %+v", r)
	}
	if r.Digests.Live != r.Digests.Shadow {
		t.Errorf("the digests are %+v", r.Digests)
	}
	return r
}

// fill writes n entries of each of two agents, twice, and some other rows.
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
