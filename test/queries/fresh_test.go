package queries

import (
	"fmt"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// listFresh: lists without a token contain every write that the engine has
// acknowledged before, also right after it, and every answer has a token.
func listFresh(t *testing.T, c *harness.Client) {
	for round := 1; round <= 8; round++ {
		for i := range 20 {
			c.MustDo(t, "agent.fresh.set", M{"key": fmt.Sprintf("k%d-%02d", round, i), "value": i})
		}
		c.MustDo(t, fmt.Sprintf("agent.fresh-%d.set", round), M{"key": "k", "value": 1})
		counts := map[string]int{"agent.fresh.entries": 20 * round, "agents.list": round}
		for name, want := range counts {
			counted(t, c, name, M{"limit": 1000, "prefix": map[string]string{"agents.list": "fresh-"}[name]}, want)
		}
		c.MustDo(t, fmt.Sprintf("task.fresh-%d.create", round), M{"kind": "fresh"})
		counted(t, c, "tasks.list", M{"kind": "fresh"}, round)
		c.MustDo(t, "config.fresh.set", M{"key": fmt.Sprint("c", round), "value": 1})
		counted(t, c, "config.fresh.entries", M{}, round)
		c.MustDo(t, "message.fresh.direct", M{"to": "fresh-reader", "body": round})
		counted(t, c, "message.fresh-reader.inbox", M{"broadcasts": false}, round)
	}
}

// counted checks the number of rows of a list, and that it has a token.
func counted(t *testing.T, c *harness.Client, name string, body M, want int) {
	t.Helper()
	got := ask(t, c, name, body)
	for _, list := range []string{"entries", "agents", "tasks", "messages"} {
		if rows, ok := got[list].([]any); ok && len(rows) != want {
			t.Errorf("%s has %d %s from %v right after %d were acknowledged", name, len(rows), list, got["source"], want)
		}
	}
	if token, _ := got["token"].(string); token == "" {
		t.Errorf("%s has no token", name)
	}
}
