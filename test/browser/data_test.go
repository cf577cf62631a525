package browser

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// hostile is text that a page must show, and that no browser may run.
const hostile = `<script>window.pwned=1</script><img src="/x" onerror="window.pwned=2"><a href="javascript:window.pwned=3">x</a>`

// fill makes state of every kind that the pages show.
func fill(t *testing.T, e *harness.Engine) *harness.Client {
	t.Helper()
	c := e.Client(t)
	for i, city := range []string{"Oslo", "Lima", "Kyoto", "Accra"} {
		agent := []string{"planner", "researcher", "writer", "billing-7"}[i]
		c.MustSet(t, agent, "mood", "curious", nil)
		c.MustSet(t, agent, "city", city, nil)
		c.MustSet(t, agent, "plan.steps", []string{"read", "think", "write"}, nil)
		c.MustSet(t, agent, "mood", "busy", nil)
	}
	c.MustDo(t, "agent.hostile.set", raw(M{"key": "note", "value": hostile}))
	tasks(t, c)
	long(t, c)

	// A write that is older than the entry loses, and one that is rejected.
	c.MustSet(t, "writer", "draft", M{"title": "Tides", "words": 900}, M{"strategy": "timestamp", "timestamp": "2026-05-05T10:00:00Z", "writer": "w1"})
	r, err := c.Set(t.Context(), "writer", "draft", M{"title": "Moon", "words": 12}, M{"strategy": "timestamp", "timestamp": "2026-05-05T09:00:00Z", "writer": "w2"})
	if err != nil || r.Outcome != "superseded" {
		t.Fatalf("%+v %v", r, err)
	}
	for _, value := range []any{"Paris", hostile} {
		if _, err = c.Command(t.Context(), "commands.agent.planner.set", harness.NewID(), raw(M{"key": "city", "value": value, "strategy": "reject"})); harness.Refused(err) == nil {
			t.Fatalf("a write with the strategy reject: %v", err)
		}
	}

	// Commands that cannot be carried out, and an event that no view can apply.
	for i, body := range []string{`{"key":"city"}`, `{"key":"note","value":` + fmt.Sprintf("%q", hostile) + `,"unknown":1}`, `no JSON ` + hostile} {
		_, err := c.JS.Publish(t.Context(), fmt.Sprintf("enqueue.agent.late-%d.set", i), []byte(body))
		harness.Must(t, err)
	}
	nc := e.Operator(t)
	_, err = support.JetStream(t, nc).Publish(t.Context(), support.Intake(t, nc, "EVENTS")+"agent.future.state.plan",
		[]byte(`{"type":"agent.state_set","aggregate":"agent","id":"future","key":"plan","version":1,"timestamp":"2026-01-02T03:04:05Z",`+
			`"recorded_at":"2026-01-02T03:04:05Z","writer":"","command_id":"c","data":{"worth":2},"digest":"d","schema":99}`))
	harness.Must(t, err)
	c.MustDo(t, "reminder.daily.set", M{"cron": "0 7 * * *", "command": M{"subject": "agent.planner.set", "body": M{"key": "mood", "value": "awake"}}})
	harness.Eventually(t, "the views have set the event aside, and the dead letters are there", func() error {
		s, err := c.Status(t.Context())
		if err != nil {
			return err
		}
		held := 0
		for _, v := range s.Views {
			held += v.Quarantined
		}
		out := harness.Run(t, "dlq", "list", "--json", "--data", e.Data).Stdout
		if n := len(lines(out)); held < 3 || n < held+3 {
			return fmt.Errorf("%d aggregates are set aside; dlq list has %d lines", held, n)
		}
		return nil
	})
	return c
}

// An id and a key that are as long as the wire allows.
var (
	longID  = strings.Repeat("long-id-", 16)
	longKey = strings.Repeat("a_long_key.", 23) + "ab"
)

// long makes state with the longest names, and with large values.
func long(t *testing.T, c *harness.Client) {
	t.Helper()
	c.MustSet(t, longID, longKey, "short", nil)
	for i := range 8 {
		c.MustSet(t, longID, fmt.Sprintf("text-%d", i), strings.Repeat("word ", 40_000), nil)
	}
	c.MustSet(t, longID, longKey, strings.Repeat("x", 200_000), nil)
	c.MustDo(t, "task."+longID+".create", M{"kind": strings.Repeat("k", 128), "agent_id": longID})
	c.MustDo(t, "task."+longID+".start", M{"agent_id": longID})
	c.MustDo(t, "task."+longID+".fail", M{"reason": "timeout", "detail": strings.Repeat("word ", 2_000)})
}

// raw is JSON that keeps < and >, which encoding/json writes as \u003c.
func raw(body M) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		panic(err) // a mistake in the test
	}
	return b.String()
}

func lines(text string) (all []string) {
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			all = append(all, line)
		}
	}
	return all
}

// tasks makes tasks in each status.
func tasks(t *testing.T, c *harness.Client) {
	t.Helper()
	create := func(id, kind string, more M) {
		body := M{"kind": kind, "payload": M{"url": "https://example.org/" + id}}
		for k, v := range more {
			body[k] = v
		}
		c.MustDo(t, "task."+id+".create", raw(body))
	}
	create("crawl-1", "crawl", M{"priority": 7})
	create("crawl-2", "crawl", M{"agent_id": "researcher"})
	create("hostile", "crawl", M{"payload": M{"note": hostile}})
	create("sum-1", "sum", M{"retry": M{"max_attempts": 3, "backoff_ms": 600_000}})
	create("sum-2", "sum", nil)
	create("draft-1", "draft", M{"deadline": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)})
	create("draft-2", "draft", nil)
	create("mail-1", "mail", nil)
	create("mail-2", "mail", nil)
	create("mail-3", "mail", nil)
	create("mail-4", "mail", M{"retry": M{"max_attempts": 2}})
	c.MustDo(t, "task.sum-1.claim", M{"agent_id": "planner", "lease_ms": 3_600_000})
	c.MustDo(t, "task.sum-1.progress", M{"agent_id": "planner", "percent": 40, "note": "halfway"})
	c.MustDo(t, "task.sum-2.start", M{"agent_id": "writer"})
	for _, id := range []string{"draft-1", "draft-2", "mail-1", "mail-2", "mail-4"} {
		c.MustDo(t, "task."+id+".start", M{"agent_id": "writer"})
	}
	c.MustDo(t, "task.draft-1.complete", M{"result": M{"words": 900}})
	c.MustDo(t, "task.draft-2.complete", M{"result": M{"words": 20}})
	c.MustDo(t, "task.mail-1.fail", M{"reason": "smtp_refused", "detail": "550 mailbox unavailable"})
	c.MustDo(t, "task.mail-2.fail", raw(M{"reason": "timeout", "detail": hostile}))
	c.MustDo(t, "task.mail-3.cancel", M{"reason": "duplicate"})
}
