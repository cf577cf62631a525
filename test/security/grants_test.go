package security

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// refusal asks and returns the status of the error and its text without the id; "" = it
// was answered.
func refusal(t *testing.T, c *harness.Client, subject, id string) string {
	t.Helper()
	body := `{"key":"k","value":1}`
	switch {
	case strings.HasPrefix(subject, "queries.task."), strings.HasPrefix(subject, "queries.claim."):
		body = `{}`
	case strings.HasPrefix(subject, "queries."):
		body = `{"key":"k"}`
	}
	m, err := c.RequestMsg(&nats.Msg{Subject: strings.Replace(subject, "ID", id, 1), Data: []byte(body)}, harness.Patience)
	harness.Must(t, err)
	if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
		return code + " " + strings.ReplaceAll(string(m.Data), id, "ID")
	}
	return ""
}

// TestGrants: every command and query of the program is refused to a principal without a
// grant, alike for what exists and what does not; grants and revocations hold at once.
func TestGrants(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--auth", "on"}})
	dir := t.TempDir()
	auth := func(args ...string) string {
		t.Helper()
		r := harness.Run(t, append(append([]string{"auth"}, args...), "--data", e.Data)...)
		if r.Code != 0 {
			t.Fatalf("auth %q: %s%s", args, r.Stdout, r.Stderr)
		}
		return r.Stdout
	}
	as := func(name string, args ...string) *harness.Client {
		t.Helper()
		file := filepath.Join(dir, name+".creds")
		auth(append([]string{"add", name, "--out", file}, args...)...)
		creds, err := os.ReadFile(file)
		harness.Must(t, err)
		c, _ := attacker(t, e, nats.UserCredentialBytes(creds))
		return c
	}
	alice, bob := as("alice", "--role", "agent"), as("bob", "--role", "agent", "--agents", "bob-*")
	alice.MustSet(t, "alice", "k", 1, nil)
	bob.MustSet(t, "bob-1", "k", 1, nil)

	var subjects []string
	for _, name := range commands.Verbs() {
		aggregate, verb, _ := strings.Cut(name, ".")
		subjects = append(subjects, "commands."+aggregate+".ID."+verb)
	}
	for _, name := range query.Names() {
		noun, q, _ := strings.Cut(name, ".")
		if q != "list" && !listed(name) && noun != "engine" && noun != "command" {
			subjects = append(subjects, "queries."+noun+".ID."+q)
		}
	}
	for _, subject := range subjects {
		if strings.HasPrefix(subject, "commands.task.ID.") && !strings.HasSuffix(subject, ".create") && !strings.HasSuffix(subject, ".cancel") {
			continue // their bodies are read before it is known who holds the task
		}
		if strings.HasPrefix(subject, "commands.claim.") {
			continue // the owner in the body decides
		}
		there, missing := refusal(t, bob, subject, "alice"), refusal(t, bob, subject, "nobody")
		if !strings.HasPrefix(there, "403 ") || !strings.Contains(there, `"missing"`) || there != missing {
			t.Errorf("%s of alice: %s\nof nobody: %s", subject, there, missing)
		}
	}
	if got := refusal(t, bob, "commands.agent.ID.set", "alice"); !strings.Contains(got, "command agent:ID set") {
		t.Errorf("%s", got)
	}

	// The queue has the same door; the outcome is for its sender alone.
	msg := nats.NewMsg("enqueue.agent.alice.set")
	msg.Data = []byte(`{"key":"k","value":2}`)
	msg.Header.Set(nats.MsgIdHdr, "q1")
	ack, err := bob.RequestMsg(msg, harness.Patience)
	if err != nil || strings.Contains(string(ack.Data), "error") {
		t.Fatalf("%v %+v", err, ack)
	}
	for subject, want := range map[string]string{"batch": "404", "agent.set": "404", "agent.a.b.set": "400"} { // nothing is stored
		asked, err := bob.Request("commands."+subject, []byte(`{"x":1}`), harness.Patience)
		harness.Must(t, err)
		if got := asked.Header.Get("Nats-Service-Error-Code"); subject != "batch" && got != want {
			t.Errorf("commands.%s: %s", subject, asked.Data)
		}
		stored, err := bob.Request("enqueue."+subject, []byte(`{"x":1}`), harness.Patience)
		if err != nil || !strings.Contains(string(stored.Data), `"code":`+want) {
			t.Errorf("enqueue.%s: %s, %v", subject, stored.Data, err)
		}
	}
	outcome := func(c *harness.Client) string {
		m, err := c.Request("queries.command.q1.get", nil, harness.Patience)
		harness.Must(t, err)
		return string(m.Data)
	}
	harness.Eventually(t, "the outcome", func() bool { return strings.Contains(outcome(bob), `"forbidden"`) })
	if got := outcome(alice); !strings.Contains(got, "command.not_found") {
		t.Errorf("alice reads the outcome of bob's command: %s", got)
	}

	// Buckets. The refusal names the grant.
	for api, body := range map[string]string{
		"STREAM.MSG.GET.KV_AGENT_STATE": `{"last_by_subj":"$KV.AGENT_STATE.ID.k"}`, "DIRECT.GET.KV_AGENT_STATE.$KV.AGENT_STATE.ID.k": "",
		"CONSUMER.CREATE.KV_AGENT_STATE": `{"stream_name":"KV_AGENT_STATE","config":{"deliver_subject":"_INBOX.x","filter_subject":"$KV.AGENT_STATE.ID.k"}}`,
	} {
		for _, id := range []string{"alice", "absent"} {
			_, text := jsAPI(t, bob.Conn, strings.ReplaceAll(api, "ID", id), strings.ReplaceAll(body, "ID", id))
			if !strings.Contains(text, "forbidden") || !strings.Contains(text, `"watch agent:`+id+`.k"`) {
				t.Errorf("%s of %s: %s", api, id, text)
			}
		}
	}
	js, err := jetstream.New(bob.Conn)
	harness.Must(t, err)
	if kv, err := js.KeyValue(t.Context(), "AGENT_STATE"); err == nil {
		if e, err := kv.Get(t.Context(), "alice.k"); err == nil {
			t.Errorf("bob reads %s", e.Value())
		}
		if _, err := kv.Get(t.Context(), "bob-1.k"); err != nil {
			t.Errorf("bob's own entry: %v", err)
		}
	}

	seesItsOwnEvents(t, e, dir, alice, bob)

	auth("grant", "bob", "query agent:alice.k")
	harness.Eventually(t, "the grant", func() bool { return refusal(t, bob, "queries.agent.ID.get", "alice") == "" })
	auth("grant", "bob", "command view:bob-*")
	viewsShowWhatIsGranted(t, alice, bob, as("root", "--role", "reader"))
	// A reminder acts as the principal that has set it, as long as that one may.
	carol := as("carol", "--role", "reader")
	if _, err := bob.Command(t.Context(), "commands.reminder.bob-r.set", "", harness.M{"every_ms": 1000, "command": harness.M{"subject": "agent.alice.set", "body": harness.M{"key": "k", "value": 3}}}); err == nil || !strings.Contains(err.Error(), "command agent:alice set") {
		t.Errorf("bob has alice's entry changed later: %v", err)
	}
	bob.MustDo(t, "reminder.bob-r.set", harness.M{"every_ms": 1000, "command": harness.M{"subject": "agent.bob-1.set", "body": harness.M{"key": "later", "value": 1}}})
	reminded := func(want string) {
		t.Helper()
		harness.Eventually(t, "bob's reminder", func() error {
			answer, err := carol.Query(t.Context(), "queries.reminder.bob-r.get", nil)
			if err == nil && !strings.Contains(string(answer), want) {
				err = errors.New(string(answer))
			}
			return err
		})
	}
	reminded(`"outcome":"accepted"`)
	if answer, err := carol.Query(t.Context(), "queries.agent.bob-1.history", harness.M{"key": "later"}); err != nil || !strings.Contains(string(answer), `"actor":"bob"`) {
		t.Errorf("the reminder's write: %s, %v", answer, err)
	}

	auth("revoke", "bob")
	reminded(`"outcome":"refused","error":{"code":"forbidden"`)
	harness.Eventually(t, "the end of bob's connection", func() bool {
		_, err := bob.Request("queries.agent.bob-1.get", []byte(`{"key":"k"}`), answerTime)
		return err != nil
	})
	e2 := alice.MustGet(t, "alice", "k", nil)
	if string(e2.Value) != "1" {
		t.Errorf("alice's entry is %s", e2.Value)
	}
	refused := 0
	for line := range strings.Lines(auth("log", "--json")) {
		var ev struct {
			Type, ID string
			Data     struct{ Total int }
		}
		harness.Must(t, json.Unmarshal([]byte(line), &ev))
		if ev.Type == "access.refused" && ev.ID == "bob" {
			refused += ev.Data.Total
		}
	}
	if refused == 0 || !strings.Contains(e.Metrics(t.Context()), `tidemark_refused_total{kind="command"}`) {
		t.Errorf("%d refusals in the audit\n%s", refused, e.Metrics(t.Context()))
	}
}

// seesItsOwnEvents: the events of alice are not among those that bob reads, by query and
// with the program; those of a name are refused alike, whether it exists or not.
func seesItsOwnEvents(t *testing.T, e *harness.Engine, dir string, alice, bob *harness.Client) {
	t.Helper()
	read := func(c *harness.Client, body string) string {
		m, err := c.Request("queries.events.read", []byte(body), harness.Patience)
		harness.Must(t, err)
		return string(m.Data)
	}
	for c, own := range map[*harness.Client][2]string{alice: {`"id":"alice"`, `"bob-1"`}, bob: {`"id":"bob-1"`, `"alice"`}} {
		for _, body := range []string{`{}`, `{"subject":"agent.>"}`, `{"subject":"agent.*.state.k"}`} {
			if got := read(c, body); !strings.Contains(got, own[0]) || strings.Contains(got, own[1]) || strings.Count(got, "state_set") != 1 {
				t.Errorf("%s: %s", body, got)
			}
		}
	}
	there, missing := read(bob, `{"subject":"agent.alice.>"}`), read(bob, `{"subject":"agent.nobody.state.k"}`)
	if !strings.Contains(there, `"missing":"query agent:alice history"`) || strings.ReplaceAll(there, "alice", "nobody") != missing {
		t.Errorf("events of alice: %s\nof nobody: %s", there, missing)
	}
	mine := harness.Run(t, "replay", "--server", e.NATSURL, "--creds", filepath.Join(dir, "bob.creds"))
	if r := harness.Run(t, "diff", "agent.bob-1", "--from", "0", "--server", e.NATSURL, "--creds", filepath.Join(dir, "bob.creds")); r.Code != 0 || !strings.Contains(r.Stdout, "1 change,") {
		t.Errorf("diff of bob: %+v", r)
	}
	all := e.Run("replay")
	for line := range strings.Lines(mine.Stdout) {
		if !strings.Contains(line, `"id":"bob-1"`) || !strings.Contains(all.Stdout, line) {
			t.Errorf("bob replays %s", line)
		}
	}
	if mine.Code != 0 || strings.Count(mine.Stdout, "state_set") != 1 || strings.Count(all.Stdout, "state_set") != 2 {
		t.Errorf("replay of bob: %+v\nof the operator: %+v", mine, all)
	}
}

// viewsShowWhatIsGranted: a view shows no more than its definer may read. To others it is
// refused as if it did not exist.
func viewsShowWhatIsGranted(t *testing.T, alice, bob, everything *harness.Client) {
	t.Helper()
	harness.Eventually(t, "the grant", func() bool { return !strings.Contains(refusal(t, bob, "commands.view.ID.remove", "bob-v"), "403") })
	for agents, missing := range map[string]string{"*": "query agent:* get", "alice": "query agent:alice get", "b*": "query agent:b* get", "bob-*": ""} {
		_, err := bob.Command(t.Context(), "commands.view.bob-v.define", "", harness.M{"from": "state", "agents": agents, "columns": harness.M{"k": harness.M{"path": "/value", "type": "numeric"}}})
		if missing == "" && err != nil || missing != "" && (err == nil || !strings.Contains(err.Error(), missing)) {
			t.Errorf("bob's view of %s: %v", agents, err)
		}
	}
	for _, query := range []string{"get", "definition", "history"} {
		there, missing := refusal(t, alice, "queries.view.ID."+query, "bob-v"), refusal(t, alice, "queries.view.ID."+query, "bob-w")
		if !strings.HasPrefix(there, "403 ") || there != missing {
			t.Errorf("alice asks bob's view for %s: %s\none that is not there: %s", query, there, missing)
		}
	}
	if got := refusal(t, everything, "queries.view.ID.get", "bob-v"); !strings.Contains(got, "sql.off") {
		t.Errorf("a reader of it does not learn the reason: %s", got)
	}
}
