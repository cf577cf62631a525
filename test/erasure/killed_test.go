package erasure

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestEraseKilled: wherever the engine is killed during an erasure, and whether the client then
// repeats its command or sends another, nothing is left once the receipt says complete.
func TestEraseKilled(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", newKey(t, "key", strings.Repeat("5a", 32))}})
	c := e.Client(t)
	for round := range harness.Rounds(2, 20) {
		agent := fmt.Sprint("a", round)
		for i := range 30 {
			c.MustSet(t, agent, fmt.Sprint("k", i), marker, nil)
			c.MustDo(t, fmt.Sprintf("task.t%d-%d.create", round, i), M{"kind": "k", "agent_id": agent, "payload": marker})
		}
		c.MustDo(t, fmt.Sprintf("session.s%d.open", round), M{"owner": agent})
		c.MustDo(t, fmt.Sprintf("session.s%d.put", round), M{"key": "k", "value": marker})
		db := c.SQL(t)
		harness.Exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, $2, $3)`, agent, "task.none.create", `{"agent_id":"`+agent+`","x":"`+marker+`"}`)
		harness.Eventually(t, "the command of the outbox is done: one that waits is of a new life", func() (done bool) {
			harness.Must(t, db.QueryRow(t.Context(), `SELECT count(*) = 0 FROM agents.outbox WHERE done_at IS NULL`).Scan(&done))
			return done
		})
		c.CaughtUp(t)
		nc, err := nats.Connect(e.NATSURL)
		harness.Must(t, err)
		first := agent + "-first"
		harness.Must(t, nc.PublishMsg(&nats.Msg{Subject: "commands.agent." + agent + ".erase", Reply: "_INBOX.none", Data: []byte(`{"reason":"article 17"}`), Header: nats.Header{"Nats-Msg-Id": {first}}}))
		harness.Must(t, nc.Flush())
		nc.Close()
		time.Sleep(1200*time.Millisecond + time.Duration(round*7%20)*100*time.Millisecond) // where it is then differs: a second of it is the wait for other engines
		e.Kill()
		e.Restart()
		id := first
		if round%2 == 0 {
			id = agent + "-another"
		}
		erase(t, c, agent, id)
		erase(t, c, agent, first)
		if found := rowsHolding(t, c.SQL(t), marker); len(found) > 0 {
			t.Errorf("round %d: SQL holds values in %v", round, found)
		}
		for _, stream := range []string{"TASK_EXECUTION", "AGENT_STATE", "KV_TASK_STATE", "KV_SESSION_DATA", "KV_AGENT_STATE"} {
			for _, m := range c.Messages(t, stream, ">") {
				if bytes.Contains(m.Raw, []byte(marker)) {
					t.Fatalf("round %d: %s has a value on %s", round, stream, m.Subject)
				}
			}
		}
		if files := holding(t, e.Data, marker); len(files) > 0 {
			t.Errorf("round %d: files hold values: %v", round, files)
		}
	}
	e.Verify()
}
