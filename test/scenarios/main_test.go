// Package scenarios tests the engine over time and as several processes:
// lifecycles, deadlines, batches, and engines that share one NATS server and
// one database.
package scenarios

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// refused sends a command that must be refused with this status and code.
func refused(t *testing.T, c *harness.Client, subject string, body any, status int, code string) {
	t.Helper()
	_, err := c.Command(t.Context(), subject, "", body)
	harness.WantRefusal(t, subject, err, status, code)
}

// phase returns the phase of an agent.
func phase(t *testing.T, c *harness.Client, agent string) string {
	t.Helper()
	var l struct {
		Phase string `json:"phase"`
	}
	answer, err := c.Query(t.Context(), "queries.agent."+agent+".lifecycle", nil)
	if err == nil {
		err = json.Unmarshal(answer, &l)
	}
	if err != nil {
		t.Fatalf("lifecycle of %s: %v", agent, err)
	}
	return l.Phase
}

// becomes waits until an agent is in a phase.
func becomes(t *testing.T, c *harness.Client, agent, want string) {
	t.Helper()
	harness.Eventually(t, "agent "+agent+" becomes "+want, func() error {
		if now := phase(t, c, agent); now != want {
			return fmt.Errorf("it is %s", now)
		}
		return nil
	})
}

// lifecycle returns the types of an agent's lifecycle events, in order.
func lifecycle(t *testing.T, c *harness.Client, agent string) []string {
	t.Helper()
	var types []string
	for _, ev := range c.Journal(t) {
		if ev.Subject == "events.agent."+agent+".lifecycle" {
			types = append(types, strings.TrimPrefix(ev.Type, "agent."))
		}
	}
	return types
}
