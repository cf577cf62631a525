package queries

import (
	"strconv"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestWithoutSQL: without SQL the journal answers queries for documents and for
// one agent; lists over all agents say what they lack. The engine has several
// partitions, and the answers include each.
func TestWithoutSQL(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--partitions", "3"}})
	c := e.Client(t)
	var want []string
	for i := range 12 {
		id := "n" + strconv.Itoa(i)
		c.MustDo(t, "task."+id+".create", M{"kind": "k"})
		r := c.MustDo(t, "task."+id+".start", M{"agent_id": "w"})
		has(t, ask(t, c, "task."+id+".get", M{"token": r.Token}), M{"status": "started", "version": 2, "token": r.Token})
		equal(t, "history", len(ask(t, c, "task."+id+".history", nil)["versions"].([]any)), 2)
		key := "k." + strconv.Itoa(10+i)
		c.MustDo(t, "config.n.set", M{"key": key, "value": i})
		c.MustSet(t, "n", key, i, nil)
		if want = append(want, key); i%2 == 0 {
			c.MustDo(t, "config.n.set", M{"key": "gone." + key, "value": i})
			c.MustDo(t, "config.n.unset", M{"key": "gone." + key})
		}
	}
	for _, limit := range []int{1, 5, 12, 100} {
		rows, _ := pages(t, c, "config.n.entries", "entries", "key", M{"limit": limit})
		equal(t, "config", rows, want)
		rows, _ = pages(t, c, "agent.n.entries", "entries", "key", M{"limit": limit, "prefix": "k."})
		equal(t, "entries", rows, want)
	}
	equal(t, "source", ask(t, c, "config.n.entries", nil)["source"], "journal")
	for _, list := range []string{"tasks.list", "agents.list", "message.n.inbox"} {
		refused(t, c, list, nil, 503, "sql.off")
	}
	equal(t, "dirty keys", ask(t, c, "agent.n.lifecycle", nil)["dirty_keys"], nil)
	e.Verify()
}
