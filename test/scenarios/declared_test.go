package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestDeclaredViews: declared views are exact while entries are set, moved between groups and
// deleted at two engines, one of which is killed, and while their definitions change; they
// equal one SQL query over agents.state, verify and rebuild agree, and a removed view is gone.
func TestDeclaredViews(t *testing.T) {
	t.Parallel()
	engines, sql := twoEngines(t, "docs/howto/views.md")
	e := engines[0]
	c := e.Client(t)
	town := M{"path": "/value/city", "type": "text"}
	total := M{"path": "/value/total", "type": "numeric"}
	c.MustDo(t, "view.flat.define", M{"from": "state", "agents": "shop-*", "keys": "order.*",
		"columns": M{"city": town, "total": total, "set_at": M{"path": "/timestamp", "type": "timestamptz"}, "whole": M{"path": "/value", "type": "jsonb"}}})
	c.MustDo(t, "view.towns.define", M{"from": "state", "agents": "shop-*", "keys": "order.*", "into": []string{"sql", "kv"},
		"columns": M{"city": town, "total": total}, "group": M{"by": []string{"city"}, "count": true, "sum": []string{"total"}}})
	c.MustDo(t, "view.work.define", M{"from": "task", "columns": M{"kind": M{"path": "/kind", "type": "text"}, "status": M{"path": "/status", "type": "text"}},
		"group": M{"by": []string{"kind", "status"}, "count": true}})
	c.MustDo(t, "view.sent.define", M{"from": "message", "agents": "shop-*", "columns": M{"to": M{"path": "/to", "type": "text"}, "body": M{"path": "/body", "type": "jsonb"},
		"kind": M{"path": "/kind", "type": "text"}, "at": M{"path": "/sent_at", "type": "timestamptz"}, "revision_of": M{"path": "/sequence", "type": "numeric"}}})
	declaredLoad(t, e, c)
	declaredTasks(t, c)
	declaredMessages(t, c)
	declaredEqual(t, c, "city", "town")
	declaredQueries(t, c)
	other := engines[1].Client(t)
	for _, view := range []string{"flat", "towns", "work", "sent"} {
		mine, theirs := declaredRows(t, c, view), declaredRows(t, other, view)
		if len(mine) == 0 || strings.Join(mine, "\n") != strings.Join(theirs, "\n") {
			t.Errorf("view %s has %d rows here and others in the other engine: %d", view, len(mine), len(theirs))
		}
	}
	run := func(ok bool, args ...string) {
		t.Helper()
		if r := e.Run(args[0], append(args[1:], "--postgres", sql)...); (r.Code == 0) != ok {
			t.Errorf("%s: %+v", args, r)
		}
	}
	run(true, "verify")
	run(true, "rebuild", "view.towns")
	run(true, "rebuild", "views")
	run(true, "verify")
	_, err := c.SQL(t).Exec(t.Context(), `UPDATE agents.view_towns SET sum_total = sum_total + 1; DELETE FROM agents.view_flat; UPDATE agents.view_sent SET kind = 'direct'`)
	harness.Must(t, err)
	run(false, "verify")
	run(true, "verify", "--repair")
	declaredEqual(t, c, "city", "town")
	sentEqual(t, c)

	bucket, err := c.JS.KeyValue(t.Context(), "VIEW_towns")
	harness.Must(t, err)
	rows := declaredRows(t, c, "towns")
	harness.Eventually(t, "the bucket has the rows", func() error {
		keys, err := bucket.ListKeys(t.Context())
		if err != nil {
			return err
		}
		n := 0
		for key := range keys.Keys() {
			if n++; !strings.HasPrefix(key, "g.") || len(key) != 34 {
				return fmt.Errorf("it has the key %q", key)
			}
		}
		if n != len(rows) {
			return fmt.Errorf("it has %d rows, the view %d", n, len(rows))
		}
		return nil
	})
	// A table that cannot be dropped stops its own view alone.
	_, err = c.SQL(t).Exec(t.Context(), `CREATE VIEW agents.of_an_application AS SELECT key FROM agents.view_flat`)
	harness.Must(t, err)
	c.MustDo(t, "view.flat.remove", M{})
	c.MustDo(t, "view.later.define", M{"from": "state", "agents": "shop-*", "columns": M{"city": town}})
	if len(declaredRows(t, c, "later")) == 0 {
		t.Error("the view that comes later has no rows")
	}
	_, err = c.SQL(t).Exec(t.Context(), `DROP VIEW agents.of_an_application`)
	harness.Must(t, err)

	removed := c.MustDo(t, "view.towns.remove", M{})
	_, err = c.Query(t.Context(), "queries.view.towns.list", M{"token": removed.Token})
	harness.WantRefusal(t, "a removed view", err, 404, "view.not_found")
	harness.Eventually(t, "the table and the bucket are gone", func() error {
		var left bool
		if err := c.SQL(t).QueryRow(t.Context(), `SELECT to_regclass('agents.view_towns') IS NOT NULL`).Scan(&left); err != nil || left {
			return fmt.Errorf("the table is there: %v, %w", left, err)
		}
		if _, err := c.JS.KeyValue(t.Context(), "VIEW_towns"); !errors.Is(err, jetstream.ErrBucketNotFound) {
			return fmt.Errorf("the bucket: %w", err)
		}
		return nil
	})
}

// declaredLoad changes entries from several clients, kills the engine and redefines a view
// twice meanwhile.
func declaredLoad(t *testing.T, e *harness.Engine, c *harness.Client) {
	const writers, batch = 4, 50
	rounds, keys := harness.Rounds(12, 1200), harness.Rounds(250, 30_000) // about 100,000 entries in a long run
	cities := []string{"Rome", "Oslo", "Paris", "Lima", "Kyiv"}
	do := func(w *harness.Client, subject, id string, body any) error {
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := w.Command(ctx, subject, id, body)
			cancel()
			if no := harness.Refused(err); err == nil || no != nil && no.Status < 500 && no.Status != 429 || t.Context().Err() != nil {
				return err
			}
		}
	}
	var open sync.WaitGroup
	for n := range writers {
		w, random := e.Client(t), rand.New(rand.NewPCG(1, uint64(n)))
		open.Go(func() {
			for round := range rounds {
				items := make([]M, batch)
				for i := range items {
					entry := fmt.Sprintf("order.%d", random.IntN(keys))
					subject := fmt.Sprintf("agent.shop-%d", n)
					value := M{"city": cities[random.IntN(len(cities))], "total": json.Number(fmt.Sprintf("%d.%02d", random.IntN(1000), random.IntN(100)))}
					switch random.IntN(10) {
					case 0, 1:
						items[i] = item(harness.NewID(), subject+".delete", M{"key": entry})
						continue
					case 2:
						value["total"] = "none"
					case 3:
						delete(value, "city")
					case 4:
						entry = "other." + entry
					}
					items[i] = item(harness.NewID(), subject+".set", M{"key": entry, "value": value})
				}
				if err := declaredBatch(t, w, items); err != nil {
					t.Errorf("writer %d, round %d: %v", n, round, err)
					return
				}
			}
		})
	}
	e.Kill()
	e.Restart()
	group := M{"by": []string{"town"}, "count": true, "sum": []string{"total"}}
	for version, path := range []string{"/value/town", "/value/city"} { // the first is replaced while it is built
		body := M{"from": "state", "agents": "shop-*", "keys": "order.*", "into": []string{"sql", "kv"}, "expected_version": version + 1, "group": group,
			"columns": M{"town": M{"path": path, "type": "text"}, "total": M{"path": "/value/total", "type": "numeric"}}}
		if err := do(c, "commands.view.towns.define", harness.NewID(), body); err != nil {
			t.Fatal(err)
		}
	}
	open.Wait()
}

// declaredBatch sends a batch until it is answered.
func declaredBatch(t *testing.T, c *harness.Client, items []M) error {
	body, err := json.Marshal(M{"atomic": false, "commands": items})
	if err != nil {
		return err
	}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		answer, err := c.Ask(ctx, &nats.Msg{Subject: "commands.batch", Data: body, Header: nats.Header{}})
		cancel()
		var got struct {
			Results []struct {
				Error *struct{ Status int }
			}
		}
		if err == nil {
			err = json.Unmarshal(answer, &got)
		}
		again := err != nil
		for _, r := range got.Results {
			again = again || r.Error != nil && (r.Error.Status >= 500 || r.Error.Status == 429)
		}
		if !again || t.Context().Err() != nil {
			return t.Context().Err()
		}
	}
}

// declaredEqual compares the views with one query over agents.state.
func declaredEqual(t *testing.T, c *harness.Client, flat, grouped string) {
	t.Helper()
	declaredRows(t, c, "flat")
	declaredRows(t, c, "agents")
	harness.Eventually(t, "the new definition is in place", func() error {
		rows := declaredRows(t, c, "towns")
		if len(rows) == 0 || !strings.Contains(rows[0], `"`+grouped+`"`) || len(rows) < 2 {
			return fmt.Errorf("%q", rows)
		}
		return nil
	})
	const from = ` FROM agents.state WHERE agent_id LIKE 'shop-%' AND state_key LIKE 'order.%'`
	const number = `CASE WHEN jsonb_typeof(state_value->'total') = 'number' THEN (state_value->>'total')::numeric END`
	for what, sides := range map[string][2]string{
		"flat": {`SELECT key, ` + flat + `, total, whole FROM agents.view_flat`, `SELECT agent_id || '.' || state_key, state_value->>'city', ` + number + `, state_value` + from},
		"towns": {`SELECT ` + grouped + `, count, sum_total FROM agents.view_towns`,
			`SELECT state_value->>'city', count(*), coalesce(sum(` + number + `), 0)` + from + ` GROUP BY 1`},
	} {
		var rows, differ int
		harness.Must(t, c.SQL(t).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM (`+sides[0]+`) r), (SELECT count(*) FROM
			((`+sides[0]+` EXCEPT ALL `+sides[1]+`) UNION ALL (`+sides[1]+` EXCEPT ALL `+sides[0]+`)) d)`).Scan(&rows, &differ))
		if rows == 0 || differ > 0 {
			t.Errorf("view %s has %d rows, %d differ from agents.state", what, rows, differ)
		}
	}
}

// declaredRows reads all pages of a view, or of the agents.
func declaredRows(t *testing.T, c *harness.Client, view string) (rows []string) {
	t.Helper()
	subject := "queries.view." + view + ".list"
	if view == "agents" {
		subject = "queries.agents.list"
	}
	token := c.MustDo(t, "agent.marker.set", M{"key": "k", "value": 1}).Token // either engine may answer
	for cursor := ""; ; {
		answer, err := c.Query(t.Context(), subject, M{"limit": 700, "cursor": cursor, "token": token, "wait_ms": 30_000})
		harness.Must(t, err)
		var page struct {
			Rows   []json.RawMessage `json:"rows"`
			Cursor string            `json:"cursor"`
		}
		harness.Must(t, json.Unmarshal(answer, &page))
		for _, row := range page.Rows {
			rows = append(rows, string(row))
		}
		if cursor = page.Cursor; cursor == "" {
			return rows
		}
	}
}

func declaredTasks(t *testing.T, c *harness.Client) {
	for i := range 6 {
		c.MustDo(t, fmt.Sprintf("task.work-%d.create", i), M{"kind": "print"})
	}
	c.MustDo(t, "task.work-0.start", M{"agent_id": "a"})
	last := c.MustDo(t, "task.work-1.cancel", M{})
	answer, err := c.Query(t.Context(), "queries.view.work.list", M{"where": M{"status": "created"}, "token": last.Token, "wait_ms": 30_000})
	harness.Must(t, err)
	if !strings.Contains(string(answer), `"kind":"print","status":"created","count":4}]`) {
		t.Errorf("tasks by status: %s", answer)
	}
}

// declaredMessages sends messages: the view has those of its senders, as agents.messages has them.
func declaredMessages(t *testing.T, c *harness.Client) {
	for i, subject := range []string{"shop-1.direct", "shop-1.broadcast", "shop-2.notify", "other.direct", "shop-1.direct"} {
		body := M{"body": M{"n": json.Number(fmt.Sprintf("%d.50", i))}}
		switch _, verb, _ := strings.Cut(subject, "."); verb {
		case "direct":
			body["to"] = "shop-9"
		case "notify":
			body["type"] = "news"
		}
		c.MustDo(t, "message."+subject, body)
	}
	sentEqual(t, c)
	row := declaredRows(t, c, "sent")[0]
	var got struct{ Key, Kind, To string }
	harness.Must(t, json.Unmarshal([]byte(row), &got))
	answer, err := c.Query(t.Context(), "queries.view.sent.get", M{"key": got.Key})
	harness.Must(t, err)
	if !strings.HasPrefix(got.Key, "shop-1.") || !strings.Contains(row, `.50}`) || !strings.HasPrefix(string(answer), `{"row":`+row+`,`) {
		t.Errorf("the row of a message: %s, %s", row, answer)
	}
}

// sentEqual compares the view of messages with agents.messages.
func sentEqual(t *testing.T, c *harness.Client) {
	t.Helper()
	if rows := declaredRows(t, c, "sent"); len(rows) != 4 {
		t.Errorf("the view of messages: %q", rows)
	}
	harness.Eventually(t, "the messages are stored", func() error {
		const mine, stored = `SELECT key, "to", body, kind, at, revision_of FROM agents.view_sent`,
			`SELECT sender || '.' || message_id, recipient, body, kind, sent_at, sequence FROM agents.messages WHERE sender LIKE 'shop-%'`
		var differ int
		err := c.SQL(t).QueryRow(t.Context(), `SELECT count(*) FROM ((`+mine+` EXCEPT ALL `+stored+`) UNION ALL (`+stored+` EXCEPT ALL `+mine+`)) d`).Scan(&differ)
		if err == nil && differ > 0 {
			err = fmt.Errorf("%d rows differ", differ)
		}
		return err
	})
}

// declaredQueries asks for rows, and for what cannot be answered.
func declaredQueries(t *testing.T, c *harness.Client) {
	r := c.MustDo(t, "agent.shop-9.set", M{"key": "order.exact", "value": json.RawMessage(`{"city":"Ρώμη","total":12345678901234567890.12345678901234567890}`)})
	for range 3 {
		answer, err := c.Query(t.Context(), "queries.view.flat.get", M{"key": "shop-9.order.exact", "token": r.Token})
		harness.Must(t, err)
		if !strings.Contains(string(answer), `"total":12345678901234567890.12345678901234567890`) || !strings.HasPrefix(string(answer), `{"row":{"key":"shop-9.order.exact","city":"Ρώμη"`) {
			t.Errorf("the row: %s", answer)
		}
	}
	answer, err := c.Query(t.Context(), "queries.view.flat.list", M{"where": M{"city": "Ρώμη", "total": json.RawMessage(`12345678901234567890.1234567890123456789`)}, "token": r.Token})
	harness.Must(t, err)
	if strings.Count(string(answer), `"key"`) != 1 {
		t.Errorf("by value: %s", answer)
	}
	r = c.MustDo(t, "agent.shop-9.delete", M{"key": "order.exact"})
	_, err = c.Query(t.Context(), "queries.view.flat.get", M{"key": "shop-9.order.exact", "token": r.Token})
	harness.WantRefusal(t, "a deleted row", err, 404, "view.row_not_found")
	for body, code := range map[string]string{
		`{"where":{"nope":1}}`: "where.unknown_column", `{"where":{"total":"1"}}`: "where.invalid", `{"where":[1]}`: "where.invalid", `{"where":null}`: "where.invalid",
		`{"where":{"city":5}}`: "where.invalid", `{"where":{"set_at":"yesterday"}}`: "where.invalid", `{"limit":0}`: "limit.invalid",
		`{"token":"x"}`: "token.invalid", `{"prefix":"a"}`: "body.unknown_field",
	} {
		_, err := c.Query(t.Context(), "queries.view.flat.list", json.RawMessage(body))
		harness.WantRefusal(t, body, err, 400, code)
	}
	_, err = c.Query(t.Context(), "queries.view.flat.get", M{})
	harness.WantRefusal(t, "without a key", err, 400, "body.missing_field")
	_, err = c.Query(t.Context(), "queries.view.no-such.get", M{"key": "a"})
	harness.WantRefusal(t, "no view", err, 404, "view.not_found")
}
