package queries

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// verify runs `engine verify --json`.
func runVerify(t *testing.T, e *harness.Engine) verify.Report {
	t.Helper()
	got := e.Run("verify", "--json")
	var r verify.Report
	if err := json.NewDecoder(strings.NewReader(got.Stdout)).Decode(&r); err != nil {
		t.Fatalf("verify printed %s%s: %v", got.Stdout, got.Stderr, err)
	}
	if (got.Code == 0) != r.OK() || got.Code > 1 {
		t.Errorf("verify ended with %d and reports %d differences", got.Code, len(r.Differences))
	}
	return r
}

func fill(t *testing.T, c *harness.Client) {
	t.Helper()
	for _, id := range []string{"v1", "v2", "v3"} {
		c.MustDo(t, "task."+id+".create", M{"kind": "k", "payload": M{"n": 1e3}})
		c.MustDo(t, "session."+id+".open", M{"owner": "ann"})
		c.MustDo(t, "session."+id+".put", M{"key": "a", "value": "é "})
		c.MustDo(t, "claim."+id+".acquire", M{"owner": "ann", "lease_ms": 600_000, "data": M{"n": 1e3}})
		c.MustDo(t, "reminder."+id+".set", M{"at": "2126-01-01T00:00:00Z", "command": M{"subject": "agent." + id + ".expire"}})
		c.MustDo(t, "message."+id+".read", M{"up_to": 1764431953123456, "marks": []int{1764431953123458, 1764431953123499}})
		c.MustDo(t, "message."+id+".direct", M{"to": "ann", "body": M{"n": 1e3}})
		c.MustDo(t, "view."+id+".define", M{"from": "state", "agents": "nobody", "columns": M{"n": M{"path": "/value/n", "type": "numeric"}}})
		c.MustDo(t, "config."+id+".set", M{"key": "a.b", "value": []any{1, nil}})
		c.MustDo(t, "config."+id+".set", M{"key": "gone", "value": 1})
		c.MustDo(t, "config."+id+".unset", M{"key": "gone"})
		c.MustSet(t, id, "k", 1, M{"strategy": "reject"})
		for range 3 {
			if _, err := c.Set(t.Context(), id, "k", 2, M{"strategy": "reject"}); harness.Refused(err) == nil {
				t.Fatalf("a second reject write: %v", err)
			}
		}
		// Each row has its own agent: entries of an inactive agent may be
		// absent in KV.
		c.MustDo(t, "agent.l"+id+".hydrate", nil)
		c.MustDo(t, "agent.l"+id+".retire", nil)
	}
	c.MustDo(t, "task.v1.start", M{"agent_id": "w"})
	c.MustDo(t, "task.v1.progress", M{"percent": 12.5, "note": "on"})
}

// TestVerify: verify compares rows of every kind with the journal and names
// exactly the changed ones.
func TestVerify(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Env: []string{"TIDEMARK_LIFECYCLE=manual"}})
	c := e.Client(t)
	fill(t, c)
	c.CaughtUp(t)
	clean := runVerify(t, e)
	if !clean.OK() {
		t.Fatalf("before anything was changed: %+v", clean.Differences)
	}
	for _, tier := range clean.Tiers {
		if tier.Digest != clean.Digest || tier.Rows != tier.Equal {
			t.Errorf("%+v", tier)
		}
		for _, k := range tier.Kinds {
			if k.Rows < 3 || k.Rows != clean.Living[k.Kind] {
				t.Errorf("%s: %+v of %d", tier.Name, k, clean.Living[k.Kind])
			}
		}
	}
	equal(t, "tiers", []int{len(clean.Tiers[0].Kinds), len(clean.Tiers[1].Kinds)}, []int{6, 11})
	damaged(t, e, c)
}

// TestVerifyAfterRetention: a message that was removed for its age is no difference; one that
// was removed by hand is.
func TestVerifyAfterRetention(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--messages-retention", "1s"}})
	c := e.Client(t)
	sql := c.SQL(t)
	for i := range 3 {
		c.MustDo(t, "message.a1.direct", M{"to": "a2", "body": i})
	}
	harness.Eventually(t, "the messages are removed", func() error {
		var n int
		if err := sql.QueryRow(t.Context(), `SELECT count(*) FROM agents.messages`).Scan(&n); err != nil || n > 0 {
			return fmt.Errorf("%d messages, %v", n, err)
		}
		return nil
	})
	c.CaughtUp(t)
	if r := runVerify(t, e); !r.OK() || r.Living["message"] != 3 {
		t.Errorf("%+v, %v", r.Differences, r.Living)
	}
}

// damage is a change of SQL rows outside the engine; an empty change is a
// deletion.
type damage struct{ table, where, change, name string }

// rounds of damages, each to other rows.
var rounds = [][]damage{{
	{"tasks", "task_id = 'v1'", "state_text = replace(state_text, 'started', 'created'), status = 'created'", "task v1"},
	{"tasks", "task_id = 'v2'", "payload = '{}'", "task v2"}, // a column alone
	{"tasks", "task_id = 'v3'", "version = 7", "task v3"},
	{"sessions", "session_id = 'v1'", "owner = 'bob'", "session v1"},
	{"sessions", "session_id = 'v2'", "revision = revision + 1", "session v2"},
	{"claims", "claim_id = 'v1'", "owner = 'bob'", "claim v1"},
	{"claims", "claim_id = 'v2'", "expires_at = expires_at + interval '1 s'", "claim v2"},
	{"claims", "claim_id = 'v3'", "fence = 7", "claim v3"},
	{"reminders", "reminder_id = 'v1'", "fired = 7", "reminder v1"},
	{"reminders", "reminder_id = 'v2'", "next_at = next_at + interval '1 s'", "reminder v2"},
	{"inboxes", "agent_id = 'v1'", "read_up_to = read_up_to + interval '1 s'", "inbox v1"},
	{"inboxes", "agent_id = 'v2'", "marks = '{}'", "inbox v2"},
	{"inboxes", "agent_id = 'v3'", "", "inbox v3"},
	{"messages", "sender = 'v1'", "body_text = '{\"n\":8}', body = '{\"n\":8}'", "message v1.%s"},
	{"messages", "sender = 'v2'", "body = '2'", "message v2.%s"}, // a column alone
	{"messages", "sender = 'v3'", "", "message v3.%s"},
	{"views", "name = 'v1'", "definition = definition - 'agents'", "view v1"},
	{"views", "name = 'v2'", "defined_at = defined_at + interval '1 s'", "view v2"},
	{"config", "agent_id = 'v1'", "state_text = '2', config_value = '2'", "config v1.a.b"},
	{"config", "agent_id = 'v2'", "config_value = '2'", "config v2.a.b"},
	{"lifecycle", "agent_id = 'lv1'", "phase = 'active'", "lifecycle lv1"},
	{"state", "agent_id = 'v1'", "timestamp = timestamp - interval '1 s'", "v1.k"},
	{"conflicts", "agent_id = 'v1' AND version = 1", "reason = 'because'", "conflict v1.k"},
	{"conflicts", "agent_id = 'v2' AND version = 3", "digest = 'x'", "conflict v2.k"},
	{"conflicts", "agent_id = 'v3' AND version = 2", "", "conflict v3.k"},
}, {
	{"messages", "sender = 'v1'", "recipient = 'bob'", "message v1.%s"},
	{"messages", "sender = 'v2'", "body_text = 'torn'", "message v2.%s"},
	{"messages", "sender = 'v3' AND kind = 'direct'", "digest = NULL", "message v3.%s"}, // as of an earlier build
	{"tasks", "task_id = 'v1'", "status = 'completed'", "task v1"},
	{"tasks", "task_id = 'v2'", "digest = 'x'", "task v2"},
	{"tasks", "task_id = 'v3'", "", "task v3"},
	{"config", "agent_id = 'v3'", "", "config v3.a.b"},
	{"state", "agent_id = 'v2'", "", "v2.k"},
	{"conflicts", "agent_id = 'v3'", "", "conflict v3.k"},
}}

// damaged changes rows of every kind, and puts them back.
func damaged(t *testing.T, e *harness.Engine, c *harness.Client) {
	sql := c.SQL(t)
	for _, round := range rounds {
		var names []string
		var undo []func()
		for _, d := range round {
			if kind, id, _ := strings.Cut(d.name, " "); kind == "message" {
				var message string
				harness.Must(t, sql.QueryRow(t.Context(), `SELECT message_id FROM agents.messages WHERE sender = $1`, strings.TrimSuffix(id, ".%s")).Scan(&message))
				d.name = fmt.Sprintf(d.name, message)
			}
			names, undo = append(names, d.name), append(undo, d.do(t, sql))
		}
		found(t, e, "sql", names)
		for _, f := range undo {
			f()
		}
	}
	damagedKV(t, e, c)
	if r := runVerify(t, e); !r.OK() {
		t.Errorf("after all was put back: %+v", r.Differences)
	}
}

// found checks that verify names exactly these differences.
func found(t *testing.T, e *harness.Engine, tier string, names []string) {
	t.Helper()
	r := runVerify(t, e)
	var got []string
	for _, d := range r.Differences {
		if got = append(got, d.Key); d.Tier != tier {
			t.Errorf("a difference in another tier: %+v", d)
		}
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("verify found %v, want %v: %+v", got, names, r.Differences)
	}
	for _, tr := range r.Tiers {
		if tr.Name == tier && tr.Differences != len(names) {
			t.Errorf("%+v", tr)
		}
	}
}

// do damages the rows and returns a function that restores them.
func (d damage) do(t *testing.T, sql *pgx.Conn) (undo func()) {
	t.Helper()
	exec := func(q string) { harness.Exec(t, sql, q) }
	table := "agents." + d.table
	kept := fmt.Sprintf("kept_%x", crc32.ChecksumIEEE([]byte(d.table+d.where)))
	exec("CREATE TEMP TABLE " + kept + " AS SELECT * FROM " + table + " WHERE " + d.where)
	change := "DELETE FROM " + table + " WHERE " + d.where
	if d.change != "" {
		change = "UPDATE " + table + " SET " + d.change + " WHERE " + d.where
	}
	if harness.Exec(t, sql, change) == 0 {
		t.Fatalf("%s: no row changed", change)
	}
	return func() {
		exec("DELETE FROM " + table + " WHERE " + d.where)
		exec("INSERT INTO " + table + " SELECT * FROM " + kept)
		exec("DROP TABLE " + kept)
	}
}

// damagedKV changes, breaks, deletes and adds a value in every bucket.
func damagedKV(t *testing.T, e *harness.Engine, _ *harness.Client) {
	js := e.OperatorJetStream(t)
	names := map[string]string{"TASK_STATE v1": "task v1", "SESSION_DATA v2": "session v2", "CLAIM_STATE v3": "claim v3", "AGENT_CONFIG v1.a.b": "config v1.a.b", "AGENT_STATE v1.k": "v1.k"}
	each := func(do func(kv jetstream.KeyValue, key string, was []byte) error) {
		t.Helper()
		for place := range names {
			bucket, key, _ := strings.Cut(place, " ")
			kv, err := js.KeyValue(t.Context(), bucket)
			harness.Must(t, err)
			harness.Must(t, do(kv, key, valueOf(t, kv, key)))
		}
	}
	kept := map[string][]byte{}
	each(func(_ jetstream.KeyValue, key string, was []byte) error { kept[key] = was; return nil })
	all, more := slices.Collect(maps.Values(names)), []string{}
	for _, name := range all {
		more = append(more, name+"x")
	}
	put := func(change func(was []byte) []byte) {
		t.Helper()
		each(func(kv jetstream.KeyValue, key string, _ []byte) error {
			_, err := kv.Put(t.Context(), key, change(kept[key]))
			return err
		})
	}
	put(func(was []byte) []byte { return bytes.Replace(was, []byte("1"), []byte("2"), 1) })
	found(t, e, "kv", all)
	put(func([]byte) []byte { return []byte("{}") })
	found(t, e, "kv", all)
	put(func([]byte) []byte { return []byte("not JSON") })
	found(t, e, "kv", all)
	put(func([]byte) []byte { return nil })
	found(t, e, "kv", all)
	each(func(kv jetstream.KeyValue, key string, _ []byte) error { return kv.Delete(t.Context(), key) })
	found(t, e, "kv", all)
	put(func(was []byte) []byte { return was })
	each(func(kv jetstream.KeyValue, key string, was []byte) error {
		_, err := kv.Put(t.Context(), key+"x", was)
		return err
	})
	found(t, e, "kv", more)
	each(func(kv jetstream.KeyValue, key string, _ []byte) error { return kv.Purge(t.Context(), key+"x") })
}

// valueOf returns the value under a key, nil without one.
func valueOf(t *testing.T, kv jetstream.KeyValue, key string) []byte {
	t.Helper()
	v, err := kv.Get(t.Context(), key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	harness.Must(t, err)
	return v.Value()
}
