// Package quarantine writes events that the views of a running engine cannot
// apply, kills the engine in between, and tests the operator's commands.
package quarantine

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// manual switches lifecycles off.
var manual = harness.Config{Env: []string{"TIDEMARK_LIFECYCLE=manual"}}

// appendRaw stores an event with the engine's own rights, which no engine of
// this version would write.
func appendRaw(t *testing.T, e *harness.Engine, stream, body string) {
	t.Helper()
	nc := e.Operator(t)
	if _, err := support.JetStream(t, nc).Publish(t.Context(), support.Intake(t, nc, "EVENTS")+stream, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// states waits until every view has caught up, and compares how many aggregates
// each has quarantined.
func states(t *testing.T, c *harness.Client, want map[string]int) {
	t.Helper()
	harness.Eventually(t, "the views have caught up, and quarantined so many aggregates", func() error {
		s, err := c.Status(t.Context())
		if err != nil {
			return err
		}
		for _, v := range s.Views {
			state := "running"
			if want[v.Name] > 0 {
				state = "degraded"
			}
			if v.LagEvents > 0 || v.State != state || v.Quarantined != want[v.Name] {
				return fmt.Errorf("%+v, want %d quarantined", v, want[v.Name])
			}
		}
		return nil
	})
}

// rebuild rebuilds a view, or all, which must pass.
func rebuild(t *testing.T, e *harness.Engine, view string, args ...string) {
	t.Helper()
	if r := e.Run("rebuild", append([]string{view}, args...)...); r.Code != 0 {
		t.Errorf("rebuild %s %v ended with %d: %s%s", view, args, r.Code, r.Stdout, r.Stderr)
	}
}

// deadLetter is a line of `engine dlq list --json`.
type deadLetter struct {
	ID, Source, Subject, Reason string
	Revision, Last              uint64
	Waiting, Attempts           int
}

func deadLetters(t *testing.T, e *harness.Engine) map[string]deadLetter {
	t.Helper()
	r := harness.Run(t, "dlq", "list", "--json", "--data", e.Data)
	if r.Code != 0 {
		t.Fatalf("dlq list ended with %d: %s", r.Code, r.Stderr)
	}
	all := map[string]deadLetter{}
	for lines := bufio.NewScanner(strings.NewReader(r.Stdout)); lines.Scan(); {
		var l deadLetter
		harness.Must(t, json.Unmarshal(lines.Bytes(), &l))
		all[l.ID] = l
	}
	return all
}

// dlq runs a subcommand that must end with a code and say something.
func dlq(t *testing.T, e *harness.Engine, what, which string, code int, says string) {
	t.Helper()
	r := harness.Run(t, "dlq", what, which, "--data", e.Data)
	if r.Code != code || !strings.Contains(r.Stdout+r.Stderr, says) {
		t.Errorf("dlq %s %s ended with %d: %s%s; want %d and %q", what, which, r.Code, r.Stdout, r.Stderr, code, says)
	}
}

// reads queries an entry and compares its value and source, or the code of the
// refusal.
func reads(t *testing.T, c *harness.Client, agent, key, consistency, want string) {
	t.Helper()
	e, err := c.Get(t.Context(), agent, key, harness.M{"consistency": consistency})
	got := string(e.Value) + " from " + e.Source
	if r := harness.Refused(err); r != nil {
		got = r.Code
	} else if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("a %s read of %s.%s: %s (%v), want %s", consistency, agent, key, got, err, want)
	}
}

func count(t *testing.T, c *harness.Client, sql string) (n int) {
	t.Helper()
	harness.Must(t, c.SQL(t).QueryRow(context.Background(), sql).Scan(&n))
	return n
}
