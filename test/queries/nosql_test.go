package queries

import (
	"strconv"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// Without SQL documents and what one agent has are answered from the journal;
// lists over everything say what they miss. Several partitions, to see that
// none is forgotten.
func TestWithoutSQL(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--partitions", "3"}})
	c := e.Client(t)
	var want []string
	for i := range 12 {
		id := "n" + strconv.Itoa(i)
		do(t, c, "task."+id+".create", M{"kind": "k"})
		r := do(t, c, "task."+id+".start", M{"agent_id": "w"})
		has(t, ask(t, c, "task."+id+".get", M{"token": r.Token}), M{"status": "started", "version": 2, "token": r.Token})
		equal(t, "history", len(ask(t, c, "task."+id+".history", nil)["versions"].([]any)), 2)
		key := "k." + strconv.Itoa(10+i)
		do(t, c, "config.n.set", M{"key": key, "value": i})
		c.MustSet(t, "n", key, i, nil)
		if want = append(want, key); i%2 == 0 {
			do(t, c, "config.n.set", M{"key": "gone." + key, "value": i})
			do(t, c, "config.n.unset", M{"key": "gone." + key})
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
