package scenarios

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/internal/contract"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestContract sends every command and asks every query that internal/contract declares. The
// harness compares each answer with its schema; here the events, the buckets, the feeds and the
// durable outcomes are compared too, and nothing declared may be left out.
func TestContract(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	harness.Must(t, os.WriteFile(key, []byte(strings.Repeat("0f", 32)+"\n"), 0o600))
	e := harness.Start(t, harness.Config{Args: []string{"--search", "--encryption", "on", "--master-key", key}})
	c := e.Client(t)
	feed := followFeeds(t, c)
	writeAll(t, c)
	refuseAll(t, c)
	askAll(t, c)
	c.CaughtUp(t)

	for _, ev := range c.Journal(t) { // as the journal has it, encrypted
		harness.CheckEvent(t, ev.Raw)
	}
	var read struct{ Events []json.RawMessage }
	answer, err := c.Query(t.Context(), "queries.events.read", M{"limit": 1000})
	harness.Must(t, err)
	harness.Must(t, json.Unmarshal(answer, &read))
	for _, ev := range read.Events { // as queries show it
		harness.CheckEvent(t, ev)
	}
	for bucket, b := range contract.Buckets {
		bucket = strings.ReplaceAll(bucket, "<name>", "moods")
		harness.Eventually(t, "a value of "+bucket, func() error { return checkBucket(t, c, bucket, b) })
	}
	feed(t)

	for name := range contract.Commands {
		if !harness.Checked(name) {
			t.Errorf("no answer to %s was compared", name)
		}
	}
	for name := range contract.Queries {
		if !harness.Checked(name) {
			t.Errorf("no answer to %s was compared", name)
		}
	}
	rare := map[string]bool{ // other tests bring these about
		"agent.hydration_failed": true, "agent.flush_failed": true, "agent.revert_started": true,
		"reminder.missed": true, "reminder.erased": true, "task.erased": true, "claim.erased": true, "session.erased": true,
	}
	for name := range contract.Events {
		if !rare[name] && !harness.Checked("event "+name) {
			t.Errorf("no event %s was compared", name)
		}
	}
}

// writeAll sends every command of the contract.
func writeAll(t *testing.T, c *harness.Client) {
	t.Helper()
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	do := func(subject string, body M) harness.Receipt { return c.MustDo(t, subject, body) }
	do("agent.a1.set", M{"key": "mood", "value": "calm", "strategy": "last_write_wins", "writer": "w"})
	do("agent.a1.set", M{"key": "mood", "value": M{"n": 1.50}, "timestamp": time.Now().UTC().Format(time.RFC3339Nano), "expected_version": 1, "strategy": "timestamp"})
	do("agent.a1.merge", M{"key": "mood", "value": M{"m": 2}})
	do("agent.a1.add", M{"key": "count", "delta": 2, "min": 0, "max": 9})
	do("agent.a1.append", M{"key": "list", "items": []int{1, 2}, "max_items": 5})
	do("agent.a1.revert", M{"key": "mood", "to_version": 1, "reason": "test"})
	do("agent.a1.set", M{"key": "gone", "value": 1})
	do("agent.a1.delete", M{"key": "gone"})
	do("agent.a1.heartbeat", M{"status": "well"})
	old, err := c.Command(t.Context(), "commands.agent.a1.set", "", M{"key": "mood", "value": 1, "strategy": "timestamp", "timestamp": "2020-01-01T00:00:00Z"})
	if harness.Must(t, err); old.Outcome != "superseded" {
		t.Errorf("an old write is %s", old.Outcome)
	}
	do("agent.a2.fork", M{"from": "a1", "reason": "test"})
	do("agent.a2.set", M{"key": "mood", "value": "other"})
	do("agent.a2.revert", M{"to_revision": old.Revision})
	becomes(t, c, "a2", "active")
	do("agent.a2.flush", M{"reason": "test"})
	becomes(t, c, "a2", "active")
	do("agent.a2.expire", M{})
	do("agent.a2.hydrate", M{})
	becomes(t, c, "a2", "active")
	do("agent.a2.retire", M{"reason": "done"})
	do("config.a1.set", M{"key": "model", "value": M{"name": "m"}})
	do("config.a1.set", M{"key": "other", "value": 1})
	do("config.a1.unset", M{"key": "other"})

	do("task.t1.create", M{"kind": "k", "payload": M{"x": 1}, "priority": 3, "deadline": soon, "agent_id": "a1", "retry": M{"max_attempts": 3, "backoff_ms": 1}})
	fence := do("task.t1.claim", M{"agent_id": "a1", "lease_ms": 60_000}).Version
	do("task.t1.progress", M{"percent": 50.5, "note": "half", "fence": fence})
	do("task.t1.fail", M{"reason": "broken", "detail": "by itself"})
	do("task.t2.create", M{"kind": "k"})
	do("task.t2.start", M{"agent_id": "a1"})
	do("task.t2.complete", M{"result": []int{1}, "agent_id": "a1"})
	do("task.t3.create", M{"kind": "k"})
	do("task.t3.cancel", M{"reason": "no need"})
	do("task.t4.create", M{"kind": "next"})
	do("task.t5.create", M{"kind": "lost"})
	do("task.t5.claim", M{"agent_id": "a1", "lease_ms": 1})
	_, err = c.Query(t.Context(), "commands.tasks.next", M{"agent_id": "a1", "kind": "next", "lease_ms": 60_000, "wait_ms": 5000})
	harness.Must(t, err)

	do("session.s1.open", M{"owner": "a1", "ttl": 600})
	do("session.s1.put", M{"key": "k", "value": 1})
	do("session.s1.touch", M{})
	do("session.s2.open", M{"owner": "a1", "ttl": 1})
	do("session.s3.open", M{"owner": "a1"})
	do("session.s3.close", M{})
	claim := do("claim.c1.acquire", M{"owner": "o", "lease_ms": 60_000, "data": M{"x": 1}}).Version
	do("claim.c1.renew", M{"owner": "o", "fence": claim})
	do("claim.c2.acquire", M{"owner": "o", "lease_ms": 1})
	claim = do("claim.c3.acquire", M{"owner": "o"}).Version
	do("claim.c3.release", M{"owner": "o", "fence": claim})

	do("message.a1.direct", M{"to": "a2", "body": "hello"})
	do("message.a1.broadcast", M{"body": M{"all": true}})
	do("message.a1.notify", M{"type": "news", "body": 1})
	var inbox struct{ Messages []struct{ Mark int64 } }
	answer, err := c.Query(t.Context(), "queries.message.a2.inbox", M{"unread": true})
	harness.Must(t, err)
	harness.Must(t, json.Unmarshal(answer, &inbox))
	do("message.a2.read", M{"up_to": inbox.Messages[0].Mark})

	do("reminder.r1.set", M{"at": time.Now().Add(200 * time.Millisecond).UTC().Format(time.RFC3339Nano), "command": M{"subject": "agent.a1.set", "body": M{"key": "rung", "value": true}}})
	do("reminder.r2.set", M{"cron": "0 9 * * 1", "timezone": "Europe/Berlin", "until": "2099-01-01T00:00:00Z", "count": 3, "missed": "skip", "command": M{"subject": "task.t9.cancel"}, "agent_id": "a1"})
	do("reminder.r2.cancel", M{})
	do("view.moods.define", M{"from": "state", "keys": "mood", "columns": M{"mood": M{"path": "/value", "type": "jsonb"}}, "into": []string{"sql", "kv"}})
	do("view.gone.define", M{"name": "gone", "from": "task", "columns": M{"kind": M{"path": "/kind", "type": "text"}}, "group": M{"by": []string{"kind"}, "count": true}})
	do("view.gone.remove", M{})

	for _, atomic := range []bool{false, true} {
		_, err = c.Query(t.Context(), "commands.batch", M{
			"atomic":   atomic,
			"commands": []M{{"subject": "agent.b1.set", "id": harness.NewID(), "body": M{"key": "k", "value": atomic}}},
			"require":  []M{{"subject": "claim.c1", "owner": "o"}},
		})
		harness.Must(t, err)
	}
	_, err = c.Query(t.Context(), "commands.batch", M{"commands": []M{{"subject": "agent.b1.set", "body": M{"key": "k"}}}})
	harness.Must(t, err)
	do("agent.x1.set", M{"key": "k", "value": "secret"})
	do("agent.x1.erase", M{"reason": "test"})

	id := harness.NewID()
	_, err = c.JS.PublishMsg(t.Context(), &nats.Msg{
		Subject: "enqueue.agent.a1.set", Header: nats.Header{nats.MsgIdHdr: {id}}, Data: []byte(`{"key":"queued","value":1}`),
	})
	harness.Must(t, err)
	harness.Eventually(t, "the outcome of a durable command", func() error {
		_, err := c.Query(t.Context(), "queries.command."+id+".get", nil)
		return err
	})
	for _, want := range []string{"task.lease_expired", "claim.expired", "session.expired", "reminder.fired", "reminder.done"} {
		c.AwaitEvent(t, want, time.Minute, func(ev harness.Event) bool { return ev.Type == want })
	}
}

// refuseAll has some commands refused: each code must be declared.
func refuseAll(t *testing.T, c *harness.Client) {
	t.Helper()
	refused(t, c, "commands.agent.a1.set", M{"key": "mood", "value": 1, "strategy": "reject"}, 409, "state.conflict")
	refused(t, c, "commands.agent.a1.set", M{"key": "mood"}, 400, "body.missing_field")
	refused(t, c, "commands.task.t2.start", M{"agent_id": "a1"}, 422, "task.not_startable")
	refused(t, c, "commands.task.t4.complete", M{"agent_id": "else"}, 409, "task.fenced")
	refused(t, c, "commands.agent.a1.sett", M{}, 404, "command.unknown")
	refused(t, c, "commands.claim.c1.acquire", M{"owner": "else"}, 409, "claim.held")
	refused(t, c, "commands.agent.a1.merge", M{"key": "count", "value": M{}}, 422, "state.not_object")
}

// askAll asks every query of the contract, with pages where there are some.
func askAll(t *testing.T, c *harness.Client) {
	t.Helper()
	for _, q := range []struct {
		subject string
		body    M
	}{
		{"agent.a1.get", M{"key": "mood"}}, {"agent.a1.get", M{"key": "mood", "consistency": "strong"}}, {"agent.a1.get", M{"key": "mood", "at_revision": 5}},
		{"agent.a1.entries", M{"prefix": "m", "limit": 1}}, {"agent.a1.entries", M{"max_age_ms": 60_000}}, {"agent.a1.entries", M{"at_revision": 9}},
		{"agent.a1.history", M{"key": "mood", "losers": true}}, {"agent.a1.history", M{"key": "gone"}}, {"agent.x1.history", M{"key": "k"}},
		{"agent.a1.lifecycle", nil}, {"agent.new.lifecycle", nil}, {"agent.a1.lifecycle", M{"at_revision": 100}},
		{"agent.a1.timeline", M{"limit": 500}}, {"agent.a1.timeline", M{"from": 1, "limit": 1}}, {"agent.x1.timeline", nil},
		{"agent.a1.diff", M{"from": 1}}, {"agent.a1.diff", M{"from": 1, "to": time.Now().UTC().Format(time.RFC3339Nano), "limit": 1}},
		{"agents.list", nil}, {"agents.list", M{"limit": 1, "max_age_ms": 60_000}}, {"agents.list", M{"limit": 1, "max_age_ms": 60_000}}, {"state.find", M{"contains": true}},
		{"task.t1.get", nil}, {"task.t2.history", nil}, {"tasks.list", M{"status": "completed"}}, {"tasks.list", M{"limit": 2}},
		{"session.s1.get", nil}, {"session.s1.history", nil}, {"sessions.list", nil},
		{"claim.c1.get", nil}, {"claim.c3.history", nil}, {"claims.list", nil},
		{"reminder.r1.get", nil}, {"reminder.r1.history", nil}, {"reminders.list", nil},
		{"config.a1.get", M{"key": "model"}}, {"config.a1.entries", nil}, {"config.a1.history", M{"key": "other"}},
		{"message.a2.inbox", nil}, {"message.a2.history", nil},
		{"view.moods.definition", nil}, {"view.moods.history", nil}, {"views.list", nil},
		{"view.moods.get", M{"key": "a1.mood", "wait_ms": 60_000}}, {"view.moods.list", M{"where": M{"key": "a1.mood"}, "wait_ms": 60_000}},
		{"engine.status", nil},
	} {
		answer, err := c.Query(t.Context(), "queries."+q.subject, q.body)
		var has struct{ Token string }
		if err == nil {
			err = json.Unmarshal(answer, &has)
		}
		if err != nil || has.Token == "" {
			t.Errorf("%s %v: token %q, %v", q.subject, q.body, has.Token, err)
		}
	}
}

// checkBucket compares the values of a bucket; there must be one.
func checkBucket(t *testing.T, c *harness.Client, bucket string, b contract.Bucket) error {
	kv, err := c.JS.KeyValue(t.Context(), bucket)
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(t.Context(), jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	n := 0
	for v := range w.Updates() {
		if v == nil {
			break
		}
		harness.CheckShape(t, bucket, b.Value, v.Value())
		n++
	}
	if n == 0 {
		return fmt.Errorf("it is empty")
	}
	return nil
}

// followFeeds compares what comes on the subjects of the contract; the returned function
// waits until each kind of them has come.
func followFeeds(t *testing.T, c *harness.Client) func(t *testing.T) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	for _, ch := range contract.Channels {
		if ch.Stream == "EVENTS" {
			continue // the journal is read
		}
		pattern := regexp.MustCompile(`<[a-z_]+>`).ReplaceAllString(ch.Subject, "*")
		if strings.HasPrefix(ch.Subject, "agents.state.<agent>.") {
			pattern = "agents.state.*.>"
		}
		_, err := c.Subscribe(pattern, func(m *nats.Msg) {
			if strings.Contains(m.Subject, "$") || len(m.Data) == 0 {
				return // a marker, or the bucket's own
			}
			if ch.Message == "Event" {
				harness.CheckEvent(t, m.Data)
			} else {
				harness.CheckShape(t, ch.Subject, ch.Message, m.Data)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[ch.Subject] = true
		})
		harness.Must(t, err)
	}
	harness.Must(t, c.Flush())
	return func(t *testing.T) {
		t.Helper()
		for _, ch := range contract.Channels {
			if ch.Stream != "EVENTS" {
				harness.Eventually(t, "a message on "+ch.Subject, func() bool {
					mu.Lock()
					defer mu.Unlock()
					return seen[ch.Subject]
				})
			}
		}
	}
}
