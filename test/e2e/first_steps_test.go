package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func firstSteps(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	before := time.Now()
	r := c.MustSet(t, "first", "mood", "curious", harness.M{"writer": "w1"})
	if _, err := ulid.ParseStrict(r.CommandID); err != nil || r.Aggregate != "agent" || r.ID != "first" || r.Key != "mood" ||
		r.Version != 1 || r.Revision == 0 || r.Token == "" || r.Replayed {
		t.Fatalf("the receipt is %+v", r)
	}
	for _, tier := range []struct{ consistency, source string }{
		{"", "memory"}, {"cached", "memory"}, {"hot", "kv"}, {"durable", "sql"}, {"strong", "journal"},
	} {
		ask := harness.M{"token": r.Token}
		if tier.consistency != "" {
			ask["consistency"] = tier.consistency
		}
		got := c.MustGet(t, "first", "mood", ask)
		if got.Source != tier.source || string(got.Value) != `"curious"` || got.Agent != "first" || got.Key != "mood" ||
			got.Version != 1 || got.Revision != r.Revision || len(got.Digest) != 64 || got.Token == "" {
			t.Errorf("get %q: %+v", tier.consistency, got)
		}
		if got.Timestamp.Before(before) || got.Timestamp.After(time.Now()) || got.Timestamp.Location() != time.UTC {
			t.Errorf("get %q: the timestamp is %s", tier.consistency, got.Timestamp)
		}
	}
	var value, text, writer, digest string
	var version, revision uint64
	var timestamp, updated time.Time
	var expires *time.Time
	harness.Must(t, c.SQL(t).QueryRow(t.Context(), `
		SELECT state_value #>> '{}', state_text, version, revision, writer, timestamp, updated_at, expires_at, digest
		FROM agents.state WHERE agent_id = 'first' AND state_key = 'mood'`).
		Scan(&value, &text, &version, &revision, &writer, &timestamp, &updated, &expires, &digest))
	if value != "curious" || text != `"curious"` || version != 1 || revision != r.Revision || writer != "w1" || len(digest) != 64 || updated.IsZero() {
		t.Errorf("agents.state holds %q %q %d %d %q %s %s %q", value, text, version, revision, writer, timestamp, updated, digest)
	}

	second := c.MustSet(t, "first", "mood", harness.M{"now": "calm"}, nil)
	if second.Version != 2 || second.Revision <= r.Revision {
		t.Errorf("the second receipt is %+v", second)
	}
	gone, err := c.Command(t.Context(), "commands.agent.first.delete", "", harness.M{"key": "mood"})
	if err != nil || gone.Version != 3 || gone.Outcome != "accepted" {
		t.Fatalf("delete: %+v %v", gone, err)
	}
	for _, consistency := range []string{"cached", "hot", "durable", "strong"} {
		_, err := c.Get(t.Context(), "first", "mood", harness.M{"consistency": consistency, "token": gone.Token})
		if no := harness.Refused(err); no == nil || no.Status != 404 || no.Kind != "not_found" {
			t.Errorf("get %s after the delete: %v", consistency, err)
		}
	}
	if again := c.MustSet(t, "first", "mood", 1, nil); again.Version != 4 {
		t.Errorf("the version after a delete is %d, it never restarts", again.Version)
	}
	past := c.MustGet(t, "first", "mood", harness.M{"at_revision": r.Revision})
	if string(past.Value) != `"curious"` || past.Version != 1 {
		t.Errorf("get at_revision %d: %+v", r.Revision, past)
	}
}

// watchBucket: any NATS client may watch AGENT_STATE. A value has the members
// of the wire contract and no other.
func watchBucket(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	kv, err := c.JS.KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	w, err := kv.Watch(t.Context(), "watched.>")
	harness.Must(t, err)
	defer func() { harness.Must(t, w.Stop()) }()
	next := func() jetstream.KeyValueEntry {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		select {
		case v := <-w.Updates():
			return v
		case <-ctx.Done():
			t.Fatal("the watch shows nothing")
			return nil
		}
	}
	if v := next(); v != nil {
		t.Fatalf("there is something already: %s", v.Key())
	}
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
	r := c.MustSet(t, "watched", "plan.a/b=c", []int{1, 2}, harness.M{"timestamp": at.Format(time.RFC3339Nano)})
	v := next()
	var members map[string]any
	harness.Must(t, json.Unmarshal(v.Value(), &members))
	if got := slices.Sorted(maps.Keys(members)); !slices.Equal(got, []string{"agent_id", "digest", "revision", "timestamp", "value", "version"}) {
		t.Errorf("the bucket's value has %v", got)
	}
	row := harness.ReadKV(t, v.Value())
	if v.Key() != "watched.plan.a/b=c" || string(row.Value) != "[1,2]" || row.Version != 1 || row.Revision != r.Revision ||
		members["agent_id"] != "watched" || !row.Timestamp.Equal(at) || len(row.Digest) != 64 {
		t.Errorf("the watch shows %s = %s", v.Key(), v.Value())
	}
	_, err = c.Command(t.Context(), "commands.agent.watched.delete", "", harness.M{"key": "plan.a/b=c"})
	harness.Must(t, err)
	if v := next(); v.Operation() == jetstream.KeyValuePut || v.Key() != "watched.plan.a/b=c" {
		t.Errorf("after the delete the watch shows %s %s", v.Operation(), v.Key())
	}
}

func conflicts(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	r := c.MustSet(t, "rivals", "seat", "first", harness.M{"strategy": "reject"})
	id := harness.NewID()
	reply, err := c.RequestMsgWithContext(bounded(t), &nats.Msg{Subject: "commands.agent.rivals.set",
		Header: nats.Header{"Nats-Msg-Id": {id}}, Data: []byte(`{"key":"seat","value":"second","strategy":"reject","writer":"w2"}`)})
	harness.Must(t, err)
	if code := reply.Header.Get("Nats-Service-Error-Code"); code != "409" {
		t.Errorf("the header Nats-Service-Error-Code is %q", code)
	}
	if text := reply.Header.Get("Nats-Service-Error"); text == "" {
		t.Error("the header Nats-Service-Error is empty")
	}
	var body struct {
		Error struct {
			Kind, Code, Message string
			Details             map[string]any
		}
	}
	harness.Must(t, json.Unmarshal(reply.Data, &body))
	if no := body.Error; no.Kind != "conflict" || no.Code != "state.conflict" || !strings.Contains(no.Message, "seat") ||
		no.Details["version"] != 1.0 || no.Details["revision"] != float64(r.Revision) {
		t.Errorf("the body is %s", reply.Data)
	}

	// expected_version: the right one, a stale one, and "must not exist".
	right, err := c.Set(t.Context(), "rivals", "seat", "third", harness.M{"strategy": "reject", "expected_version": 1})
	if err != nil || right.Version != 2 {
		t.Errorf("expected version 1 of 1: %+v %v", right, err)
	}
	for _, expected := range []int{1, 0, 7} {
		_, err := c.Set(t.Context(), "rivals", "seat", "no", harness.M{"strategy": "last_write_wins", "expected_version": expected})
		if no := harness.Refused(err); no == nil || no.Status != 409 || no.Details.Version != 2 || no.Details.Revision != right.Revision {
			t.Errorf("expected version %d of 2: %v", expected, err)
		}
	}
	older, err := c.Set(t.Context(), "rivals", "seat", "late", harness.M{"strategy": "timestamp", "timestamp": "2001-01-01T00:00:00Z"})
	if err != nil || older.Outcome != "superseded" || older.Version != 2 || older.Revision != right.Revision {
		t.Errorf("an older write: %+v %v", older, err)
	}
	if got := c.MustGet(t, "rivals", "seat", harness.M{"consistency": "strong"}); string(got.Value) != `"third"` {
		t.Errorf("the seat is %s", got.Value)
	}

	// SQL and the history contain the conflicts too.
	c.CaughtUp(t)
	rows, err := c.SQL(t).Query(t.Context(), `
		SELECT kind, command_id, coalesce(state_text, ''), writer, current_version
		FROM agents.conflicts WHERE agent_id = 'rivals' AND state_key = 'seat' ORDER BY version`)
	harness.Must(t, err)
	defer rows.Close()
	var kinds []string
	for rows.Next() {
		var kind, command, text, writer string
		var current uint64
		harness.Must(t, rows.Scan(&kind, &command, &text, &writer, &current))
		if kinds = append(kinds, kind); len(kinds) == 1 && (command != id || text != `"second"` || writer != "w2" || current != 1) {
			t.Errorf("the first loser is %s %s %s, against version %d", command, text, writer, current)
		}
	}
	harness.Must(t, rows.Err())
	if want := []string{"rejected", "rejected", "rejected", "rejected", "superseded"}; !slices.Equal(kinds, want) {
		t.Errorf("agents.conflicts holds %v, want %v", kinds, want)
	}
	answer, err := c.Query(t.Context(), "queries.agent.rivals.history", harness.M{"key": "seat", "losers": true})
	harness.Must(t, err)
	var history struct{ Versions []struct{ Kind string } }
	harness.Must(t, json.Unmarshal(answer, &history))
	if len(history.Versions) != 7 || history.Versions[0].Kind != "superseded" || history.Versions[6].Kind != "set" {
		t.Errorf("the history is %s", answer)
	}
}

// discovery: the engine is a NATS micro service.
func discovery(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	c.MustSet(t, "found", "k", 1, nil)
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		for _, subject := range []string{"$SRV." + verb, "$SRV." + verb + ".tidemark"} {
			reply, err := c.RequestWithContext(bounded(t), subject, nil)
			harness.Must(t, err)
			var got struct {
				Type, Name, ID, Version string
				Endpoints               []struct {
					Name, Subject string
					Requests      int `json:"num_requests"`
				}
			}
			harness.Must(t, json.Unmarshal(reply.Data, &got))
			if got.Type != "io.nats.micro.v1."+strings.ToLower(verb)+"_response" || got.Name != "tidemark" || got.ID == "" || got.Version == "" {
				t.Errorf("%s: %s", subject, reply.Data)
			}
			served := map[string]int{}
			for _, p := range got.Endpoints {
				served[p.Subject] = p.Requests
			}
			if _, ok := served["commands.>"]; verb != "PING" && !ok {
				t.Errorf("%s does not name commands.>: %s", subject, reply.Data)
			}
			if verb == "STATS" && served["commands.>"] == 0 {
				t.Errorf("%s counts no command: %s", subject, reply.Data)
			}
		}
	}
}

// commandLine: the client subcommands find the engine by its data directory.
func commandLine(t *testing.T, e *harness.Engine) {
	sent := e.Run("send", "commands.agent.cli.set", `{"key":"k","value":"v"}`)
	var r harness.Receipt
	if err := json.Unmarshal([]byte(sent.Stdout), &r); err != nil || sent.Code != 0 || r.Version != 1 {
		t.Errorf("send: %+v", sent)
	}
	if got := e.Run("query", "queries.agent.cli.get", `{"key":"k"}`); got.Code != 0 || !strings.Contains(got.Stdout, `"value":"v"`) {
		t.Errorf("query: %+v", got)
	}
	if no := e.Run("query", "queries.agent.cli.get", `{"key":"none"}`); no.Code != 1 || no.Stdout != "" || !strings.Contains(no.Stderr, `"state.not_found"`) {
		t.Errorf("a query that is refused: %+v", no)
	}
	if no := e.Run("send", "--server", e.NATSURL, "commands.agent.cli.set", `{"key":"k"}`); no.Code != 1 || !strings.Contains(no.Stderr, `"body.missing_field"`) {
		t.Errorf("a command that is refused: %+v", no)
	}
	if no := e.Run("query", "commands.agent.cli.set", `{"key":"k","value":"w"}`); no.Code != 2 || !strings.Contains(no.Stderr, "engine send") {
		t.Errorf("a command as a query: %+v", no)
	}
	if no := e.Run("send", "queries.agent.cli.get", `{"key":"k"}`, "--json"); no.Code != 2 || !strings.Contains(no.Stderr, `"kind":"usage"`) {
		t.Errorf("a query as a command: %+v", no)
	}
	if no := e.Run("query", "queries.agent.cli.get", `{"key":"none"}`, "--json"); no.Code != 1 || no.Stdout != "" || !strings.Contains(no.Stderr, `"state.not_found"`) {
		t.Errorf("a refusal with --json: %+v", no)
	}
	var queued struct {
		CommandID string `json:"command_id"`
		Seq       uint64 `json:"seq"`
	}
	enqueued := e.Run("send", "enqueue.agent.cli.set", `{"key":"later","value":1}`)
	if err := json.Unmarshal([]byte(enqueued.Stdout), &queued); err != nil || queued.CommandID != fmt.Sprintf("q-%d", queued.Seq) || queued.Seq == 0 {
		t.Errorf("send enqueue: %+v", enqueued)
	}
	harness.Eventually(t, "the outcome under the printed id", func() error {
		if got := e.Run("query", "queries.command."+queued.CommandID+".get"); got.Code != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if no := e.Run("send", "--id", "", "commands.agent.cli.set", `{"key":"k","value":1}`); no.Code != 1 || !strings.Contains(no.Stderr, `"id.invalid"`) {
		t.Errorf("an empty command id: %+v", no)
	}
	if short := e.Run("send", "agent.cli.set", `{"key":"short","value":1}`); short.Code != 0 {
		t.Errorf("a subject without its root: %+v", short)
	}
	if got := e.Run("query", "agents.list"); got.Code != 0 || !strings.Contains(got.Stdout, `"cli"`) {
		t.Errorf("a list without its root: %+v", got)
	}
	if no := e.Run("replay", "--from", "99999999"); no.Code != 2 || !strings.Contains(no.Stderr, "beyond the head") {
		t.Errorf("replay from beyond the head: %+v", no)
	}
	if no := e.Run("replay", "--subject", "events.agnet.cli.>"); no.Code != 2 || !strings.Contains(no.Stderr, "agent.*.state.>") {
		t.Errorf("replay of a misspelt aggregate: %+v", no)
	}
	if no := e.Run("replay", "--subject", "agent.cli.>"); no.Code != 2 || !strings.Contains(no.Stderr, "events.") {
		t.Errorf("replay of what no event has: %+v", no)
	}
	if no := e.Run("watch", "--feed", "commands.>"); no.Code != 2 || !strings.Contains(no.Stderr, "agents.state") {
		t.Errorf("watch of what the feed never has: %+v", no)
	}
	e.Client(t).MustSet(t, "cli", "esc", "\u202e\u009b31m", nil)
	if got := e.Run("query", "queries.agent.cli.get", `{"key":"esc"}`); got.Code != 0 || strings.ContainsAny(got.Stdout, "\u202e\u009b") || !strings.Contains(got.Stdout, `\u202e`) {
		t.Errorf("a value that moves the terminal: %q", got.Stdout)
	}
	if got := e.Run("query", "queries.agent.cli.get", `{"key":"esc"}`, "--json"); !strings.Contains(got.Stdout, "\u202e\u009b31m") {
		t.Errorf("--json changes the bytes: %q", got.Stdout)
	}
	status := e.Run("status", "--json")
	var s harness.Status
	if err := json.Unmarshal([]byte(status.Stdout), &s); err != nil || status.Code != 0 || s.NATS.URL != e.NATSURL ||
		!strings.HasPrefix(s.Postgres.URL, "postgres://") || s.Durability != "synced" || len(s.Views) < 2 || strings.Contains(status.Stdout, `\u00`) {
		t.Errorf("status: %+v", status)
	}
	replayed := e.Run("replay", "--subject", "events.agent.cli.state.>")
	if replayed.Code != 0 || strings.Count(replayed.Stdout, "\n") != 4 || !strings.Contains(replayed.Stdout, r.CommandID) {
		t.Errorf("replay: %+v", replayed)
	}
	if code, body := e.Ready(); code != 200 || !strings.Contains(body, `"ready":true`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
}

// bounded returns a context for one request.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	t.Cleanup(cancel)
	return ctx
}
