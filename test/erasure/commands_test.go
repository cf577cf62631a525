package erasure

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestEraseCommands: commands that were refused or executed leave nothing of an erased agent that
// only their bodies name, and the receipts of those that were enqueued neither; commands of others
// stay, whatever their values say.
func TestEraseCommands(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", newKey(t, "key", strings.Repeat("5a", 32))}})
	c, db := e.Client(t), e.Client(t).SQL(t)
	nc, err := nats.Connect(e.NATSURL)
	harness.Must(t, err)
	defer nc.Close()
	const kept = "KEPTofOthers"
	c.MustSet(t, "a1", "k", marker, nil)
	c.MustDo(t, "task.queued.create", M{"kind": "k", "agent_id": "a1", "payload": marker})

	// Each is refused: as a dead letter, and as a row of the outbox.
	goes := map[string]string{
		"task.t9.create":     `{"kind":"k","agent_id":"a1","payload":"M","x":1}`,
		"task.queued.fail":   `{"reason":"r","detail":"M","x":1}`,
		"session.s9.open":    `{"owner":"a1","ttl":"M"}`,
		"claim.c9.acquire":   `{"owner":"a1","data":"M","x":1}`,
		"message.b.direct":   `{"to":"a1","body":"M","x":1}`,
		"message.b.send":     `{"to":"a1","body":"M"}`,
		"agent.b.fork":       `{"from":"a1","reason":"M","x":1}`,
		"agent.b.flush":      `{"reason":"M of a1`,
		"reminder.r9.set":    `{"agent_id":"a1","command":{"subject":"agent.b.set","body":{"key":"M"}}}`,
		"reminder.r8.set":    `{"command":{"subject":"task.t8.create","body":{"agent_id":"a1","payload":"M"}}}`,
		"agents.a1.set":      `{"key":"k","value":"M"}`,
		"agent.a1.fly":       `{"key":"k","value":"M"}`,
		"batch":              `{"commands":[{"subject":"agent.b.set","body":{"key":"k","value":1}},{"subject":"session.s7.open","body":{"owner":"a1","x":"M"}}]}`,
		"agent.a1.order.set": `{"value":"M"}`,
	}
	stays := map[string]string{
		"agent.b.set":     `{"key":"k","valu":"K .a1. a1"}`,
		"task.t7.create":  `{"kind":"k","agent_id":"b","payload":{"agent_id":"a1"},"x":"K"}`,
		"batch":           `{"commands":[{"subject":"agent.b.set","body":{"key":"k","valu":"K .a1."}}]}`,
		"reminder.r7.set": `{"command":{"subject":"agent.b.set","body":{"key":"k","value":"K .a1."}}}`,
	}
	n := 0
	for text, all := range map[string]map[string]string{marker: goes, kept: stays} {
		for subject, body := range all {
			body = strings.NewReplacer("M", text, "K", text).Replace(body)
			harness.Must(t, nc.Publish("enqueue."+subject, []byte(body)))
			harness.Exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, $2, $3)`, fmt.Sprint("o", n), subject, body)
			n++
		}
	}
	// Executed ones, with receipts that hold values.
	for id, command := range map[string][2]string{
		"append": {"agent.a1.append", `{"key":"list","items":["` + marker + `"]}`}, "merge": {"agent.a1.merge", `{"key":"object","value":{"v":"` + marker + `"}}`},
		"add": {"agent.a1.add", `{"key":"n","delta":77012345,"max":1}`}, "claim": {"task.queued.claim", `{"agent_id":"a1"}`}, "other": {"agent.b.append", `{"key":"list","items":["` + kept + `"]}`},
	} {
		msg := &nats.Msg{Subject: "enqueue." + command[0], Data: []byte(command[1]), Header: nats.Header{"Nats-Msg-Id": {id}}}
		harness.Must(t, nc.PublishMsg(msg))
		harness.Eventually(t, id+" has its outcome", func() error { _, err := c.Query(t.Context(), "queries.command."+id+".get", nil); return err })
		harness.Exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, $2, $3)`, "outbox-"+id, command[0], command[1])
		n++
	}
	letters := func() string {
		r := harness.Run(t, "dlq", "list", "--json", "--data", e.Data)
		if r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		return r.Stdout
	}
	harness.Eventually(t, "all commands are done", func() error {
		var done int
		harness.Must(t, db.QueryRow(t.Context(), `SELECT count(*) FROM agents.outbox WHERE done_at IS NOT NULL`).Scan(&done))
		if got := strings.Count(letters(), `"source":`); got != len(goes)+len(stays) || done != n {
			return fmt.Errorf("%d dead letters, %d done rows of %d", got, done, n)
		}
		return nil
	})
	c.CaughtUp(t)
	erase(t, c, "a1", "erase-1")

	if found := rowsHolding(t, db, marker); len(found) > 0 {
		t.Errorf("SQL holds values in %v", found)
		rows, err := db.Query(t.Context(), `SELECT subject || ' ' || body FROM agents.outbox WHERE body LIKE '%'||$1||'%'`, marker)
		harness.Must(t, err)
		for rows.Next() {
			var text string
			harness.Must(t, rows.Scan(&text))
			t.Log(text)
		}
	}
	if found := rowsHolding(t, db, kept); found["outbox"] != len(stays)+1 {
		t.Errorf("the rows of others are %v", found)
	}
	left := letters()
	if got := strings.Count(left, `"source":`); got != len(stays) {
		t.Errorf("%d dead letters are left, want %d: %s", got, len(stays), left)
	}
	for id, want := range map[string]bool{"append": false, "merge": false, "add": false, "claim": true, "other": true} {
		answer, err := c.Query(t.Context(), "queries.command."+id+".get", nil)
		if bytes.Contains(answer, []byte(marker)) || (err == nil) != want {
			t.Errorf("the outcome of %s: %s, %v", id, answer, err)
		}
	}
	if files := holding(t, e.Data, marker); len(files) > 0 {
		t.Errorf("files hold values: %v", files)
	}
	e.Verify()
}
