package queries

import (
	"context"
	"fmt"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func askLifecycle(t *testing.T, c *harness.Client) {
	got := ask(t, c, "agent.unheard.lifecycle", nil)
	has(t, got, M{
		"agent_id": "unheard", "phase": "cold", "since": nil, "last_seen": nil, "dirty_keys": 0,
		"version": 0, "revision": 0, "source": "journal",
	})
	c.MustSet(t, "lively", "zero", 0, nil)
	if _, err := c.Command(t.Context(), "commands.agent.lively.hydrate", "", nil); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "dirty keys end", func() error {
		c.CaughtUp(t)
		if got = ask(t, c, "agent.lively.lifecycle", nil); got["dirty_keys"] != float64(0) {
			return fmt.Errorf("%v", got)
		}
		if got["last_seen"] == nil {
			return fmt.Errorf("an agent that writes was never seen: %v", got)
		}
		return nil
	})
	if got["phase"] == "cold" || got["since"] == nil || got["version"] == float64(0) || got["digest"] == nil {
		t.Errorf("%v", got)
	}

	free := holdSQL(t, c)
	var token string
	for _, key := range []string{"a", "b", "a", "c.d"} {
		token = c.MustSet(t, "lively", key, 1, nil).Token
	}
	if _, err := c.Command(t.Context(), "commands.agent.lively.delete", "", M{"key": "b"}); err != nil {
		t.Fatal(err)
	}
	equal(t, "dirty", ask(t, c, "agent.lively.lifecycle", nil)["dirty_keys"], 3)
	equal(t, "others are clean", ask(t, c, "agent.unheard.lifecycle", nil)["dirty_keys"], 0)
	for _, list := range []string{"tasks.list", "agents.list", "config.lively.entries"} {
		refused(t, c, list, M{"token": token, "wait_ms": 20}, 503, "read.behind")
	}
	free()
	equal(t, "after it", len(ask(t, c, "agent.lively.entries", M{"token": token, "wait_ms": 60000})["entries"].([]any)) >= 2, true)
	harness.Eventually(t, "dirty keys end", func() error {
		if n := ask(t, c, "agent.lively.lifecycle", nil)["dirty_keys"]; n != float64(0) {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
}

// holdSQL blocks the durable view until the returned function is called; reads
// continue.
func holdSQL(t *testing.T, c *harness.Client) (free func()) {
	t.Helper()
	c.CaughtUp(t)
	sql := c.SQL(t)
	if _, err := sql.Exec(t.Context(), `BEGIN; LOCK TABLE agents.checkpoints IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	return func() { _ = sql.Close(context.Background()) }
}
