package feeds

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestOutbox: commands that were written in SQL transactions take effect once,
// in the order of their aggregate, only after the commit, and the outbox stores
// each outcome.
func TestOutbox(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	sql := c.SQL(t)
	insert(t, sql, "gone-1", "commands.agent.a.set", harness.M{"key": "gone", "value": 1}, false)
	for i := range 300 {
		subject := fmt.Sprintf("commands.agent.a%d.set", i%10)
		insert(t, sql, fmt.Sprintf("app-%d", i), subject, harness.M{"key": "k", "value": i, "strategy": "last_write_wins"}, true)
	}
	bad := map[string]string{
		"bad-1": "events.agent.a.state.k", "bad-2": "commands.agent.a.fly", "bad-3": "commands.agent.*.set",
		"bad-4": "commands.agent.a.set.more", "bad-5": "",
	}
	for id, subject := range bad {
		insert(t, sql, id, subject, harness.M{}, true)
	}
	insert(t, sql, "task-1", "commands.task.t.create", harness.M{"kind": "k"}, true)
	insert(t, sql, "task-2", "commands.task.t.start", harness.M{"agent_id": "a"}, true)
	insert(t, sql, "task-3", "commands.task.t.complete", harness.M{"result": 1}, true)
	// The same command again, in another spelling too, and its id with another body, verb or aggregate.
	for i, again := range [][3]string{
		{"agent.a9.set", `{"strategy":"last_write_wins", "value":299,"key":"k"}`, `"replayed": true`}, {"commands.agent.a9.set", `{"key":"k","value":299,"strategy":"last_write_wins"}`, `"replayed": true`},
		{"commands.agent.a9.set", `{"key":"k","value":300,"strategy":"last_write_wins"}`, `"code": "command.id_reused"`}, {"agent.a9.delete", `{"key":"k"}`, `"code": "command.id_reused"`},
		{"agent.other.fly", `{}`, `"code": "command.unknown"`},
	} {
		var row int64
		harness.Must(t, sql.QueryRow(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('app-299', $1, $2) RETURNING id`, again[0], again[1]).Scan(&row))
		defer func() {
			var outcome string
			harness.Must(t, sql.QueryRow(context.Background(), `SELECT outcome::text FROM agents.outbox WHERE id = $1`, row).Scan(&outcome))
			if !strings.Contains(outcome, again[2]) {
				t.Errorf("row %d, %s %s: %s", i, again[0], again[1], outcome)
			}
		}()
	}
	relayed(t, sql)

	all := c.Journal(t)
	if len(all) != 303 {
		t.Errorf("the journal has %d events", len(all))
	}
	next := map[string]int{}
	for _, ev := range all {
		if ev.Aggregate != "agent" {
			continue
		}
		var at, i int
		_, err := fmt.Sscanf(ev.ID+" "+ev.CommandID, "a%d app-%d", &at, &i)
		harness.Must(t, err)
		if want := next[ev.ID]*10 + at; i != want {
			t.Errorf("%s: app-%d where app-%d follows", ev.ID, i, want)
		}
		next[ev.ID]++
	}
	for id := range bad {
		var outcome struct {
			Error struct {
				Status int    `json:"status"`
				Code   string `json:"code"`
			} `json:"error"`
		}
		harness.Must(t, json.Unmarshal(outcomeOf(t, sql, id), &outcome))
		if outcome.Error.Status < 400 || outcome.Error.Code == "" {
			t.Errorf("%s: %+v", id, outcome)
		}
	}
	var receipt harness.Receipt
	harness.Must(t, json.Unmarshal(outcomeOf(t, sql, "app-299"), &receipt))
	if receipt.Outcome != "accepted" || receipt.Version != 30 || receipt.CommandID != "app-299" {
		t.Errorf("%+v", receipt)
	}
}

// TestOutboxKilled: an engine that is killed after the effect of a command and
// before its mark relays the command again. It takes effect once, although its
// id carries no time and the row is older than any duplicate window.
func TestOutboxKilled(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual"}})
	c := e.Client(t)
	sql := c.SQL(t)
	_, err := sql.Exec(t.Context(), `
		CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
		CREATE TRIGGER no BEFORE UPDATE ON agents.outbox EXECUTE FUNCTION no()`)
	harness.Must(t, err)
	for i := range 50 {
		_, err := sql.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body, created_at) VALUES ($1, $2, $3, now() - interval '1 day')`,
			fmt.Sprintf("app-%d", i), fmt.Sprintf("commands.agent.a%d.set", i%5), fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, i))
		harness.Must(t, err)
	}
	c.AwaitEvent(t, "all have taken effect", harness.Patience, func(ev harness.Event) bool { return ev.Revision == 50 })
	e.Kill()
	e.Restart()
	c = e.Client(t)
	sql = c.SQL(t)
	_, err = sql.Exec(t.Context(), `DROP TRIGGER no ON agents.outbox`)
	harness.Must(t, err)
	relayed(t, sql)
	if n := len(c.Journal(t)); n != 50 {
		t.Errorf("the journal has %d events of 50 commands", n)
	}
	var replayed int
	harness.Must(t, sql.QueryRow(t.Context(), `SELECT count(*) FROM agents.outbox WHERE (outcome->>'replayed')::boolean`).Scan(&replayed))
	if replayed != 50 {
		t.Errorf("%d of 50 outcomes say that they are repetitions", replayed)
	}
}

func insert(t *testing.T, sql *pgx.Conn, id, subject string, body any, commit bool) {
	t.Helper()
	text, err := json.Marshal(body)
	harness.Must(t, err)
	tx, err := sql.Begin(t.Context())
	harness.Must(t, err)
	_, err = tx.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, $2, $3)`, id, subject, string(text))
	harness.Must(t, err)
	if commit {
		harness.Must(t, tx.Commit(t.Context()))
	} else {
		harness.Must(t, tx.Rollback(context.Background()))
	}
}

func outcomeOf(t *testing.T, sql *pgx.Conn, id string) (outcome []byte) {
	t.Helper()
	harness.Must(t, sql.QueryRow(t.Context(), `SELECT outcome FROM agents.outbox WHERE command_id = $1 ORDER BY id LIMIT 1`, id).Scan(&outcome))
	return outcome
}

// relayed waits until the outbox is empty.
func relayed(t *testing.T, sql *pgx.Conn) {
	t.Helper()
	harness.Eventually(t, "the outbox is relayed", func() error {
		var n int
		if err := sql.QueryRow(t.Context(), `SELECT count(*) FROM agents.outbox WHERE done_at IS NULL`).Scan(&n); err != nil || n > 0 {
			return fmt.Errorf("%d wait %v", n, err)
		}
		return nil
	})
}
