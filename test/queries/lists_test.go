package queries

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func listTasks(t *testing.T, c *harness.Client) {
	want := map[string][]string{}
	var token string
	for i := range 30 {
		id := fmt.Sprintf("l-%02d", i)
		kind := []string{"load", "dump", "scan"}[i%3]
		r := c.MustDo(t, "task."+id+".create", M{"kind": "list-" + kind, "agent_id": "lister"})
		if i%2 == 0 {
			r = c.MustDo(t, "task."+id+".start", M{"agent_id": "lister"})
			want["started"] = append(want["started"], id)
		} else {
			want["created"] = append(want["created"], id)
		}
		want[kind] = append(want[kind], id)
		want["all"] = append(want["all"], id)
		token = r.Token
	}
	for _, q := range []struct {
		body M
		want []string
	}{
		{M{}, want["all"]},
		{M{"limit": 7}, want["all"]},
		{M{"limit": 1}, want["all"]},
		{M{"limit": 15, "status": "started"}, want["started"]},
		{M{"limit": 4, "status": "created"}, want["created"]},
		{M{"limit": 3, "kind": "list-dump"}, want["dump"]},
		{M{"limit": 3, "status": "failed"}, nil},
	} {
		q.body["agent_id"], q.body["token"] = "lister", token
		rows, _ := pages(t, c, "tasks.list", "tasks", "task_id", q.body)
		equal(t, fmt.Sprint(q.body), rows, q.want)
	}
	got := ask(t, c, "tasks.list", M{"kind": "list-load", "limit": 1, "token": token})
	row := got["tasks"].([]any)[0].(map[string]any)
	has(t, row, M{"task_id": "l-00", "status": "started", "kind": "list-load", "version": 2})
	equal(t, "source", got["source"], "sql")
	if got["token"] == nil || got["cursor"] == nil || row["digest"] == nil {
		t.Errorf("token, cursor or digest is missing: %v", got)
	}
	for _, row := range ask(t, c, "tasks.list", M{"agent_id": "lister", "token": token})["tasks"].([]any) {
		row := row.(map[string]any)
		then := ask(t, c, "task."+row["task_id"].(string)+".get", M{"at_time": row["updated_at"]})
		has(t, then, M{"version": row["version"], "updated_at": row["updated_at"]}) // each store has the same time
	}
}

func listEntries(t *testing.T, c *harness.Client) {
	var want []string
	var token string
	for i := range 25 {
		key := "p/" + strconv.Itoa(100+i)
		want = append(want, key)
		token = c.MustSet(t, "lots", key, i, nil).Token
	}
	for _, limit := range []int{1, 7, 25, 100} {
		rows, _ := pages(t, c, "agent.lots.entries", "entries", "key", M{"limit": limit, "token": token})
		equal(t, strconv.Itoa(limit), rows, want)
	}
	rows, _ := pages(t, c, "agent.lots.entries", "entries", "key", M{"limit": 3, "prefix": "p/11", "token": token})
	equal(t, "prefix", rows, want[10:20])
}

// phases are those of the wire contract.
var phases = []string{"cold", "hydrating", "active", "flushing", "expired"}

func listAgents(t *testing.T, c *harness.Client) {
	var want []string
	for i := range 12 {
		id := fmt.Sprintf("many-%02d", i)
		want = append(want, id)
		if i%3 > 0 {
			c.MustSet(t, id, "k", i, nil)
			c.MustSet(t, id, "l", i, nil)
		}
		if i%3 < 2 {
			if _, err := c.Command(t.Context(), "commands.agent."+id+".hydrate", "", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Reactions to the commands end, and then the phases do not change.
	harness.Eventually(t, "the lists agree", func() error {
		c.CaughtUp(t)
		for _, limit := range []int{1, 5, 12, 100} {
			rows, _ := pages(t, c, "agents.list", "agents", "agent_id", M{"prefix": "many-", "limit": limit})
			if !slices.Equal(rows, want) {
				return fmt.Errorf("limit %d: %v", limit, rows)
			}
		}
		var together []string
		for _, phase := range phases {
			rows, _ := pages(t, c, "agents.list", "agents", "agent_id", M{"prefix": "many-", "phase": phase, "limit": 2})
			if !slices.IsSorted(rows) {
				return fmt.Errorf("%s is not in order: %v", phase, rows)
			}
			together = append(together, rows...)
		}
		if slices.Sort(together); !slices.Equal(together, want) {
			return fmt.Errorf("all phases together: %v", together)
		}
		return nil
	})
	for _, r := range ask(t, c, "agents.list", M{"prefix": "many-"})["agents"].([]any) {
		a := r.(map[string]any)
		id := a["agent_id"].(string)
		n, err := strconv.Atoi(id[len("many-"):])
		harness.Must(t, err)
		entries := 2
		if n%3 == 0 {
			entries = 0
		}
		equal(t, id, a["entries"], entries)
		if a["revision"] == float64(0) || a["updated_at"] == nil || n%3 < 2 && (a["phase"] == "cold" || a["since"] == nil) {
			t.Errorf("%v", a)
		}
	}
}

// pageBySize: a page ends before its message becomes larger than servers
// accept.
func pageBySize(t *testing.T, c *harness.Client) {
	big := strings.Repeat("x", 200<<10)
	var want []string
	var token string
	for i := range 9 {
		key := "k" + strconv.Itoa(i)
		want = append(want, key)
		token = c.MustSet(t, "heavy", key, big, nil).Token
	}
	rows, requests := pages(t, c, "agent.heavy.entries", "entries", "key", M{"token": token})
	equal(t, "rows", rows, want)
	if requests != 3 {
		t.Errorf("%d requests for 9 values of 200 KiB", requests)
	}
}

// message inserts a row into agents.messages.
func message(t *testing.T, sql *pgx.Conn, id, kind, from, to string, at time.Time, body string) {
	t.Helper()
	var recipient *string
	if to != "" {
		recipient = &to
	}
	_, err := sql.Exec(t.Context(), `
		INSERT INTO agents.messages (message_id, kind, sender, recipient, body, body_text, sequence, sent_at)
		VALUES ($1, $2, $3, $4, $5::text::jsonb, $5::text, 1, $6)`, id, kind, from, recipient, body, at)
	harness.Must(t, err)
}

func askInbox(t *testing.T, c *harness.Client) {
	sql := c.SQL(t)
	defer sql.Close(context.Background())
	equal(t, "empty", ask(t, c, "message.absent.inbox", nil)["messages"], []any{})
	start := time.Date(2020, 1, 1, 0, 0, 0, 123456000, time.UTC)
	var direct, both []string
	for i := range 24 {
		id := fmt.Sprintf("m-%02d", i)
		at := start.Add(time.Duration(i/4) * time.Second) // four have the same time
		switch {
		case i%4 == 3:
			message(t, sql, id, "direct", "other", "third", at, `1`)
		case i%4 == 2:
			message(t, sql, id, "broadcast", "other", "", at, `{"to": "all"}`)
			both = append(both, id)
		default:
			message(t, sql, id, "direct", "other", "me", at, `{"n": 1.0}`)
			both, direct = append(both, id), append(direct, id)
		}
	}
	newest := func(ids []string) []string { // by time, newest first, then by id
		ids = slices.Clone(ids)
		slices.SortFunc(ids, func(a, b string) int {
			i, _ := strconv.Atoi(a[2:])
			j, _ := strconv.Atoi(b[2:])
			if i/4 != j/4 {
				return j/4 - i/4
			}
			return i - j
		})
		return ids
	}
	for _, limit := range []int{1, 2, 5, 100} {
		rows, _ := pages(t, c, "message.me.inbox", "messages", "message_id", M{"limit": limit, "broadcasts": false})
		equal(t, "direct", rows, newest(direct))
		rows, _ = pages(t, c, "message.me.inbox", "messages", "message_id", M{"limit": limit, "kind": "direct", "broadcasts": true})
		equal(t, "kind direct", rows, newest(direct))
		rows, _ = pages(t, c, "message.me.inbox", "messages", "message_id", M{"limit": limit, "kind": "broadcast"})
		for _, id := range newest(both) {
			if !slices.Contains(direct, id) && !slices.Contains(rows, id) {
				t.Errorf("broadcast %s is missing", id)
			}
		}
		rows, _ = pages(t, c, "message.me.inbox", "messages", "message_id", M{"limit": limit})
		equal(t, "both", rows, newest(both))
	}
	first := ask(t, c, "message.me.inbox", M{"limit": 1, "broadcasts": false})["messages"].([]any)[0].(map[string]any)
	if mark, _ := first["mark"].(float64); time.Since(time.UnixMicro(int64(mark))).Abs() > time.Hour {
		t.Errorf("mark %s", first["mark"])
	}
	delete(first, "mark")
	equal(t, "row", first, M{"message_id": "m-20", "kind": "direct", "from": "other", "to": "me", "body": M{"n": 1.0},
		"sent_at": start.Add(5 * time.Second), "sequence": 1, "read": false})
}
