package queries

import (
	"strconv"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func askTask(t *testing.T, c *harness.Client) {
	refused(t, c, "task.t1.get", nil, 404, "task.not_found")
	refused(t, c, "task.t1.history", nil, 404, "task.not_found")
	before := time.Now().UTC()
	created := c.MustDo(t, "task.t1.create", M{"kind": "k", "payload": M{"n": 1.50}, "agent_id": "worker"})
	c.MustDo(t, "task.t1.start", M{"agent_id": "w1"})
	c.MustDo(t, "task.t1.fail", M{"reason": "flaky", "detail": "the net"})
	c.MustDo(t, "task.t1.start", M{"agent_id": "w2"})
	last := c.MustDo(t, "task.t1.complete", M{"result": M{"ok": true}})

	got := ask(t, c, "task.t1.get", M{"token": last.Token, "wait_ms": 10})
	has(t, got, M{
		"task_id": "t1", "status": "completed", "kind": "k", "agent_id": "w2", "attempts": 2, "result": M{"ok": true},
		"version": 5, "revision": last.Revision, "source": "journal", "token": last.Token,
	})
	if len(text(got["digest"])) != 64 || got["updated_at"] == nil {
		t.Errorf("digest or updated_at is missing: %v", got)
	}
	past := ask(t, c, "task.t1.get", M{"at_revision": created.Revision})
	equal(t, "status then", past["status"], "created")
	equal(t, "version then", past["version"], 1)
	equal(t, "status in time to come", ask(t, c, "task.t1.get", M{"at_time": "9999-01-01T00:00:00Z"})["status"], "completed")
	equal(t, "status at revision to come", ask(t, c, "task.t1.get", M{"at_revision": uint64(1) << 62})["status"], "completed")
	refused(t, c, "task.t1.get", M{"at_revision": created.Revision - 1}, 404, "task.not_found")
	refused(t, c, "task.t1.get", M{"at_revision": 0}, 404, "task.not_found")
	for _, at := range []string{before.Add(-time.Hour).Format(time.RFC3339Nano), "0001-01-01T00:00:00Z", "1969-01-01T00:00:00Z"} {
		refused(t, c, "task.t1.get", M{"at_time": at}, 404, "task.not_found")
	}

	h := ask(t, c, "task.t1.history", nil)
	equal(t, "task_id", h["task_id"], "t1")
	var types, statuses []string
	for i, line := range h["versions"].([]any) {
		v := line.(map[string]any)
		types = append(types, v["type"].(string))
		statuses = append(statuses, v["state"].(map[string]any)["status"].(string))
		equal(t, "version", v["version"], 5-i)
		for _, name := range []string{"revision", "timestamp", "recorded_at", "writer", "command_id", "digest"} {
			if v[name] == nil {
				t.Errorf("version %d has no %s", 5-i, name)
			}
		}
	}
	equal(t, "types", types, []string{"task.completed", "task.started", "task.failed", "task.started", "task.created"})
	equal(t, "statuses", statuses, []string{"completed", "started", "failed", "started", "created"})
	rows, n := pages(t, c, "task.t1.history", "versions", "version", M{"limit": 2})
	equal(t, "paged", rows, []string{"5", "4", "3", "2", "1"})
	equal(t, "requests", n, 3)
}

func askSession(t *testing.T, c *harness.Client) {
	refused(t, c, "session.s1.get", nil, 404, "session.not_found")
	opened := c.MustDo(t, "session.s1.open", M{"owner": "ann", "ttl": 600})
	last := c.MustDo(t, "session.s1.put", M{"key": "cart", "value": []int{1, 2}})
	got := ask(t, c, "session.s1.get", nil)
	has(t, got, M{
		"session_id": "s1", "status": "open", "owner": "ann", "ttl_seconds": 600, "data": M{"cart": []int{1, 2}},
		"version": 2, "revision": last.Revision, "source": "journal", "token": last.Token,
	})
	past := ask(t, c, "session.s1.get", M{"at_revision": opened.Revision})
	equal(t, "data then", past["data"], nil)
	c.MustDo(t, "session.s1.close", nil)
	equal(t, "status", ask(t, c, "session.s1.get", nil)["status"], "closed")
	for status, want := range map[string][]string{"closed": {"s1"}, "open": nil} {
		rows, _ := pages(t, c, "sessions.list", "sessions", "session_id", M{"owner": "ann", "status": status, "prefix": "s1", "limit": 1})
		equal(t, "the list of "+status+" sessions", rows, want)
	}
	states, _ := pages(t, c, "session.s1.history", "versions", "type", M{"limit": 2})
	equal(t, "history", states, []string{"session.closed", "session.put", "session.opened"})
}

func askConfig(t *testing.T, c *harness.Client) {
	refused(t, c, "config.c1.get", M{"key": "mode"}, 404, "config.not_found")
	refused(t, c, "config.c1.history", M{"key": "mode"}, 404, "config.not_found")
	equal(t, "no entries", ask(t, c, "config.c1.entries", nil)["entries"], []any{})
	first := c.MustDo(t, "config.c1.set", M{"key": "mode", "value": "fast"})
	c.MustDo(t, "config.c1.set", M{"key": "mode", "value": M{"b": 1, "a": []any{nil}}})
	got := ask(t, c, "config.c1.get", M{"key": "mode"})
	has(t, got, M{"agent_id": "c1", "key": "mode", "value": M{"b": 1, "a": []any{nil}}, "version": 2, "source": "journal"})
	equal(t, "then", ask(t, c, "config.c1.get", M{"key": "mode", "at_revision": first.Revision})["value"], "fast")
	unset := c.MustDo(t, "config.c1.unset", M{"key": "mode"})
	refused(t, c, "config.c1.get", M{"key": "mode"}, 404, "config.not_found")
	refused(t, c, "config.c1.get", M{"key": "mode", "at_revision": unset.Revision}, 404, "config.not_found")

	lines := ask(t, c, "config.c1.history", M{"key": "mode"})["versions"].([]any)
	if len(lines) != 3 {
		t.Fatalf("history: %v", lines)
	}
	top := lines[0].(map[string]any)
	equal(t, "top", top["type"], "config.unset")
	if _, there := top["value"]; there {
		t.Errorf("an unset entry has a value: %v", top)
	}
	equal(t, "bottom", lines[2].(map[string]any)["value"], "fast")
	rows, _ := pages(t, c, "config.c1.history", "versions", "version", M{"key": "mode", "limit": 1})
	equal(t, "paged", rows, []string{"3", "2", "1"})

	var want []string
	for i := range 23 {
		key := "a." + strconv.Itoa(100+i)
		want = append(want, key)
		c.MustDo(t, "config.c2.set", M{"key": key, "value": i})
	}
	token := c.MustDo(t, "config.c2.set", M{"key": "b", "value": 0}).Token
	rows, n := pages(t, c, "config.c2.entries", "entries", "key", M{"prefix": "a.", "limit": 5, "token": token})
	equal(t, "entries", rows, want)
	equal(t, "requests", n, 5)
	equal(t, "source", ask(t, c, "config.c2.entries", M{"token": token})["source"], "sql")
}

func refuse(t *testing.T, c *harness.Client) {
	c.MustDo(t, "task.r.create", M{"kind": "k"})
	for _, q := range []struct {
		subject string
		body    any
		status  int
		code    string
	}{
		{"task.r.get", M{"key": "k"}, 400, "body.unknown_field"},
		{"task.r.get", M{"at_revision": 1, "at_time": "2026-01-01T00:00:00Z"}, 400, "body.invalid"},
		{"task.r.get", M{"at_time": "yesterday"}, 400, "timestamp.invalid"},
		{"task.r.get", M{"at_time": "2026-01-01 00:00:00Z"}, 400, "timestamp.invalid"},
		{"task.r.get", M{"at_revision": -1}, 400, "body.invalid"},
		{"task.r.get", M{"token": "nonsense"}, 400, "token.invalid"},
		{"task.r.get", M{"token": "00000000.0-1"}, 400, "token.foreign"},
		{"task.r.get", M{"wait_ms": -1}, 400, "wait_ms.invalid"},
		{"task.r.get", `{"token":`, 400, "json.invalid"},
		{"task.r.get", "[]", 400, "body.invalid"},
		{"task.r%.get", nil, 400, "id.invalid"},
		{"task.r.history", M{"limit": 0}, 400, "limit.invalid"},
		{"task.r.history", M{"limit": 1001}, 400, "limit.invalid"},
		{"task.r.history", M{"limit": -3}, 400, "limit.invalid"},
		{"task.r.history", M{"limit": "3"}, 400, "body.invalid"},
		{"task.r.history", M{"cursor": "x"}, 400, "cursor.invalid"},
		{"task.r.history", M{"cursor": "0"}, 400, "cursor.invalid"},
		{"task.r.history", M{"losers": true}, 400, "body.unknown_field"},
		{"task.r.list", nil, 404, "query.unknown"},
		{"tasks.list.list", nil, 404, "query.unknown"},
		{"tasks.all", nil, 404, "query.unknown"},
		{"tasks.list", M{"status": "late"}, 400, "status.unknown"},
		{"tasks.list", M{"agent_id": "a b"}, 400, "id.invalid"},
		{"tasks.list", M{"agent_id": "kv"}, 400, "id.invalid"},
		{"tasks.list", M{"kind": "a.b"}, 400, "id.invalid"},
		{"tasks.list", M{"cursor": "a.b"}, 400, "cursor.invalid"},
		{"tasks.list", M{"phase": "cold"}, 400, "body.unknown_field"},
		{"tasks.list", M{"max_age_ms": -1}, 400, "max_age_ms.invalid"},
		{"tasks.list", M{"token": "00000000.0-1"}, 400, "token.foreign"},
		{"session.r.get", M{"limit": 1}, 400, "body.unknown_field"},
		{"config.r.get", nil, 400, "body.missing_field"},
		{"config.r.get", M{"key": ""}, 400, "key.invalid"},
		{"config.r.get", M{"key": "a..b"}, 400, "key.invalid"},
		{"config.kv.get", M{"key": "a"}, 400, "id.invalid"},
		{"config.r.entries", M{"cursor": "."}, 400, "cursor.invalid"},
		{"config.r.history", nil, 400, "body.missing_field"},
		{"agent.r.lifecycle", M{"key": "k"}, 400, "body.unknown_field"},
		{"agent.r.lifecycle", M{"token": "00000000.0-1"}, 400, "token.foreign"},
		{"agent.r.entries", M{"cursor": "a b"}, 400, "cursor.invalid"},
		{"agent.r.get", M{"key": "k", "max_age_ms": 5}, 400, "body.unknown_field"},
		{"agents.list", M{"phase": "warm"}, 400, "phase.unknown"},
		{"agents.list", M{"cursor": "a.b"}, 400, "cursor.invalid"},
		{"message.r.inbox", M{"kind": "letter"}, 400, "kind.unknown"},
		{"message.r.inbox", M{"cursor": "soon"}, 400, "cursor.invalid"},
		{"message.r.inbox", M{"cursor": "12-a.b"}, 400, "cursor.invalid"},
		{"message.r.inbox", M{"token": "x"}, 400, "token.invalid"},
		{"message.kv.inbox", nil, 400, "id.invalid"},
	} {
		refused(t, c, q.subject, q.body, q.status, q.code)
	}
}
