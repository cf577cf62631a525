// Package queries tests every query of the wire contract (section 5), and that
// verify finds changed rows.
package queries

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// TestQueries runs all queries against one engine. Each part uses its own
// names.
func TestQueries(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *harness.Client)
	}{
		{"task", askTask},
		{"session", askSession},
		{"config", askConfig},
		{"tasks list", listTasks},
		{"entries", listEntries},
		{"agents list", listAgents},
		{"page by size", pageBySize},
		{"inbox", askInbox},
		{"lifecycle", askLifecycle},
		{"past", askPast},
		{"cache", askCached},
		{"fresh lists", listFresh},
		{"refusals", refuse},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, c) })
	}
	c.CheckAll(t)
	e.Verify()
}

// ask sends a query that must be answered.
func ask(t *testing.T, c *harness.Client, subject string, body any) map[string]any {
	t.Helper()
	answer, err := c.Query(t.Context(), "queries."+subject, body)
	if err != nil {
		t.Fatalf("%s %v: %v", subject, body, err)
	}
	var got map[string]any
	if err := json.Unmarshal(answer, &got); err != nil {
		t.Fatalf("%s %v: %s: %v", subject, body, answer, err)
	}
	return got
}

// refused sends a query that must be refused.
func refused(t *testing.T, c *harness.Client, subject string, body any, status int, code string) {
	t.Helper()
	answer, err := c.Query(t.Context(), "queries."+subject, body)
	var r *harness.Refusal
	if !errors.As(err, &r) || r.Status != status || r.Code != code {
		t.Errorf("%s %.200v: %.300s %v, want %d %s", subject, body, answer, err, status, code)
	}
}

// pages reads a list to its end and returns the member name of every row.
func pages(t *testing.T, c *harness.Client, subject, list, name string, body M) (rows []string, requests int) {
	t.Helper()
	for requests = 1; ; requests++ {
		got := ask(t, c, subject, body)
		for _, r := range got[list].([]any) {
			rows = append(rows, text(r.(map[string]any)[name]))
		}
		cursor, more := got["cursor"].(string)
		if !more {
			return rows, requests
		}
		next := M{"cursor": cursor}
		for k, v := range body {
			if k != "cursor" {
				next[k] = v
			}
		}
		body = next
	}
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // came out of JSON
	}
	return string(b)
}

// equal compares two values as JSON.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := text(got), text(want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

// has compares some members of an answer; nil stands for null.
func has(t *testing.T, got map[string]any, want M) {
	t.Helper()
	for name, w := range want {
		if g, there := got[name]; !there || text(g) != text(w) {
			t.Errorf("%s: got %s (%v), want %s", name, text(g), there, text(w))
		}
	}
}
