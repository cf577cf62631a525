package security

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// narrow are principals without a role, each the agent of its name, whose few grants lead
// close to what is alice's.
var narrow = map[string][]string{
	"keys":    {"command agent:alice.open.*", "query agent:alice.open.*", "watch agent:alice.open.*", "query config:alice.open.*", "watch config:alice.open.*"},
	"tasks":   {"command task:* claim,complete,fail,next,progress,start when holder", "query task:* when holder"},
	"letters": {"command message:letters", "query message:letters", "watch message:letters"},
	"viewer":  {"command view:viewer-*", "query view:* get,list", "command agent:viewer", "query agent:viewer", "watch agent:viewer"},
	"clock":   {"command reminder:clock*", "query reminder:clock*", "command agent:clock", "command task:* complete when holder"},
	"kin":     {"query agent:k*", "watch agent:k*"}, // as in agents.state.kv.>, where the feed repeats rows of every agent
	"self":    {"query *:self*", "watch *:self*"},
}

// own are the subjects that each of them may read, by stream.
var own = map[string]map[string]string{
	"keys":    {"KV_AGENT_STATE": "$KV.AGENT_STATE.alice.open.a", "AGENT_STATE": "agents.state.alice.open.a", "KV_AGENT_CONFIG": "$KV.AGENT_CONFIG.alice.open.a"},
	"kin":     {"KV_AGENT_STATE": "$KV.AGENT_STATE.kin.k", "AGENT_STATE": "agents.state.kin.k"},
	"letters": {"AGENT_MESSAGES": "messages.direct.letters.letters"},
	"viewer":  {"KV_AGENT_STATE": "$KV.AGENT_STATE.viewer.k", "AGENT_STATE": "agents.state.viewer.k"},
	"self": {"KV_AGENT_STATE": "$KV.AGENT_STATE.self.k", "KV_TASK_STATE": "$KV.TASK_STATE.self", "KV_SESSION_DATA": "$KV.SESSION_DATA.self", "KV_CLAIM_STATE": "$KV.CLAIM_STATE.self",
		"KV_REMINDER_STATE": "$KV.REMINDER_STATE.self", "TASK_EXECUTION": "tasks.created.self", "AGENT_MESSAGES": "messages.direct.self.self"},
}

// hidden are words of what is alice's and of none of these principals.
var hidden = []string{"secret-of", "hidden", "t-alice", "s-alice", "c-alice", "r-alice", "v-alice", "m-alice"}

// narrowWorld has SQL, so that lists and searches have answers.
func narrowWorld(t *testing.T, all results) *world {
	e := harness.Start(t, harness.Config{Args: []string{"--auth", "on", "--search"}})
	w := &world{t: t, e: e, operator: e.Operator(t), results: all}
	store, err := principals.Open(t.Context(), w.operator, natsio.Subjects{}, nil, slog.New(slog.DiscardHandler))
	harness.Must(t, err)
	keys := keys(t, e)
	as := func(name, role, agents string, texts ...string) (*harness.Client, chan error) {
		p := principals.Principal{Name: name, Role: role, Agents: agents}
		for _, text := range texts {
			g, err := grants.Parse(text)
			harness.Must(t, err)
			p.Grants = append(p.Grants, g)
		}
		p, err := store.Add(t.Context(), identity.Operator, p)
		harness.Must(t, err)
		creds, err := keys.NewPrincipal(name)
		harness.Must(t, err)
		set, err := p.Set()
		harness.Must(t, err)
		harness.Must(t, keys.Apply(name, set.Feeds(), nil))
		return connect(t, e, creds)
	}
	w.victim, _ = as("alice", "agent", "alice")
	w.admin, _ = as("root", "admin", "*")
	w.worker, _ = as("wendy", "worker", "wendy")
	w.account, err = keys.Account("wendy") // whose consumer is worth taking
	harness.Must(t, err)
	for _, name := range slices.Sorted(maps.Keys(narrow)) {
		c, refused := as(name, "none", name, narrow[name]...)
		w.attackers = append(w.attackers, &abuser{c, name, refused, false})
	}
	harness.Eventually(t, "the grants", func() error { _, err := w.worker.Query(t.Context(), "queries.tasks.list", M{}); return err })
	w.fill()
	return w
}

// fill gives alice what is hidden and what is open, and some of the attackers something.
func (w *world) fill() {
	t, root := w.t, w.admin
	for key, value := range map[string]string{"open.a": "open", "hidden.k": "secret-of-alice", "hidden.gone": "secret-of-alice"} {
		root.MustSet(t, "alice", key, value, nil)
		root.MustDo(t, "config.alice.set", M{"key": key, "value": value})
	}
	root.MustDo(t, "agent.alice.delete", M{"key": "hidden.gone"})
	_, err := root.Set(t.Context(), "alice", "hidden.k", "secret-of-alice that lost", M{"strategy": "reject"})
	harness.WantRefusal(t, "a losing write", err, 409, "state.conflict")
	root.MustDo(t, "agent.alice.heartbeat", M{"status": "secret-of-alice"})
	root.MustDo(t, "task.t-alice.create", M{"kind": "k", "payload": "secret-of-alice", "agent_id": "alice"})
	root.MustDo(t, "session.s-alice.open", M{"owner": "alice"})
	root.MustDo(t, "session.s-alice.put", M{"key": "k", "value": "secret-of-alice"})
	root.MustDo(t, "claim.c-alice.acquire", M{"owner": "alice", "data": "secret-of-alice"})
	root.MustDo(t, "reminder.r-alice.set", M{"every_ms": 86_400_000, "agent_id": "alice", "command": M{"subject": "agent.alice.set", "body": M{"key": "hidden.r", "value": "secret-of-alice"}}})
	root.MustDo(t, "view.v-alice.define", M{"from": "state", "agents": "alice", "into": []string{"sql", "kv"}, "columns": M{"v": M{"path": "/value", "type": "text"}}})
	root.MustDo(t, "message.alice.direct", M{"to": "alice", "body": "secret-of-alice"})
	for _, name := range []string{"self", "viewer", "kin"} {
		root.MustSet(t, name, "k", "own", nil)
	}
	root.MustDo(t, "task.self.create", M{"kind": "k", "agent_id": "self"})
	root.MustDo(t, "session.self.open", M{"owner": "self"})
	root.MustDo(t, "claim.self.acquire", M{"owner": "self"})
	root.MustDo(t, "reminder.self.set", M{"every_ms": 86_400_000, "command": M{"subject": "agent.self.heartbeat"}})
	for _, name := range []string{"self", "letters"} {
		root.MustDo(t, "message."+name+".direct", M{"to": name, "body": "own"})
	}
	_, err = root.RequestMsg(&nats.Msg{Subject: "enqueue.agent.alice.set", Data: []byte(`{"key":"hidden.q","value":"secret-of-alice"}`), Header: nats.Header{nats.MsgIdHdr: {"q-alice"}}}, harness.Patience)
	harness.Must(t, err)
	// The id is known; what it has claimed is not.
	_, err = root.Ask(t.Context(), &nats.Msg{Subject: "commands.tasks.next", Data: []byte(`{"agent_id":"alice","kind":"k","lease_ms":3600000}`), Header: nats.Header{nats.MsgIdHdr: {"next-1"}}})
	harness.Must(t, err)
	root.CaughtUp(t)
	harness.Eventually(t, "the view", func() error { _, err := root.Query(t.Context(), "queries.view.v-alice.list", M{}); return err })
}

// all collects the answers to a request: those of a batch end with a status.
func (a *abuser) all(t *testing.T, subject, body string) (text string) {
	t.Helper()
	inbox := a.NewInbox()
	sub, err := a.SubscribeSync(inbox)
	harness.Must(t, err)
	defer func() { _ = sub.Unsubscribe() }()
	harness.Must(t, a.PublishRequest(subject, inbox, []byte(body)))
	for {
		m, err := sub.NextMsg(answerTime)
		if err != nil {
			return text + err.Error()
		}
		text += m.Header.Get("Nats-Subject") + " " + string(m.Data) + "\n"
		var stored struct{ Message struct{ Data []byte } }
		_ = json.Unmarshal(m.Data, &stored) // a message by itself is no such answer
		text += string(stored.Message.Data) + "\n"
		if !strings.Contains(subject, ".DIRECT.") || m.Header.Get("Status") != "" || !strings.Contains(body, "batch") && !strings.Contains(body, "multi_last") {
			return text
		}
	}
}

// shows fails if an answer has a hidden word that the request did not have.
func (w *world) shows(a *abuser, kind, name, request, text string) {
	w.t.Helper()
	for _, word := range hidden {
		if strings.Contains(text, word) && !strings.Contains(request, word) {
			w.t.Errorf("%s, %s: %s shows %q: %.300s", a.name, kind, name, word, text)
		}
	}
	w.record(kind, name, a, "nothing hidden")
}

// readAround asks for messages by what is the attacker's own and by what is not.
func (w *world) readAround() {
	for _, a := range w.attackers {
		for stream, subject := range own[a.name] {
			for _, form := range []string{
				`{"seq":N,"multi_last":["OWN"]}`, `{"seq":N,"multi_last":["OWN"],"batch":0}`, `{"start_time":"2020-01-01T00:00:00Z","multi_last":["OWN"]}`, `{"seq":N,"last_by_subj":"OWN"}`, `{"seq":N,"next_by_subj":"OWN"}`,
				`{"start_time":"2020-01-01T00:00:00Z","last_by_subj":"OWN"}`, `{"start_time":"2020-01-01T00:00:00Z","next_by_subj":"OWN","batch":100}`, `{"seq":N,"batch":100,"next_by_subj":"OWN"}`,
				`{"multi_last":["","OWN"]}`, `{"multi_last":["OWN"],"up_to_seq":N,"batch":100}`, `{"multi_last":["OWN"],"next_by_subj":"OWN","seq":N}`, `{"last_by_subj":"OWN","next_by_subj":"OWN","seq":N}`,
				`{"seq":N,"Multi_Last":["OWN"]}`, `{"multi_last":["OWN"],"seq":N,"no_hdr":true}`, `{"seq":N,"last_by_subj":"","next_by_subj":"","multi_last":["OWN"]}`,
			} {
				for _, api := range []string{"$JS.API.STREAM.MSG.GET." + stream, "$JS.API.DIRECT.GET." + stream} {
					for n := range map[bool]int{true: 8, false: 1}[strings.Contains(form, "N,") || strings.Contains(form, "N}")] {
						body := strings.NewReplacer("N,", fmt.Sprint(n+1, ","), "N}", fmt.Sprint(n+1, "}"), "OWN", subject).Replace(form)
						w.shows(a, "read around one's own", api+" "+form, "", a.all(w.t, api, body))
					}
				}
			}
		}
	}
}

// names are consumers that another principal has, or would like to have.
func (w *world) names() {
	const chosen = "the-dashboard-of-alice-on-the-wall" // longer than a random name
	create := func(a *abuser, stream, name, more string) (code, text string) {
		return w.ask(a, "$JS.API.CONSUMER.CREATE."+stream+"."+name, fmt.Sprintf(`{"stream_name":%q,"config":{"name":%q,"deliver_policy":"all"%s}}`, stream, name, more), nil)
	}
	victim := &abuser{Client: w.victim}
	if code, text := create(victim, "AGENT_STATE", chosen, `,"filter_subject":"agents.state.alice.>"`); code != "" {
		w.t.Fatalf("alice's consumer: %s %s", code, text)
	}
	for _, a := range w.attackers {
		w.pulls(a, chosen)
		for _, name := range []string{chosen, w.account, "task-processor", "message-batch-processor"} {
			for stream, subject := range own[a.name] {
				for _, more := range []string{"", `,"deliver_subject":"_INBOX.taken"`} {
					_, text := create(a, stream, name, more+`,"filter_subject":"`+subject+`"`)
					if strings.Contains(text, `"name":"`+name+`"`) && name != "task-processor" {
						w.t.Errorf("%s has the consumer %s of %s: %s", a.name, name, stream, text)
					}
					w.record("another's consumer", "take the name "+name+" on "+stream+" "+more, a, "another name")
				}
			}
		}
	}
	info := map[string]any{}
	m, err := w.worker.Request("$JS.API.CONSUMER.INFO.TASK_EXECUTION.task-processor", nil, harness.Patience)
	harness.Must(w.t, err)
	harness.Must(w.t, json.Unmarshal(m.Data, &info))
	if config, _ := info["config"].(map[string]any); config["ack_policy"] != "explicit" || config["deliver_subject"] != nil {
		w.t.Errorf("the worker's task-processor is %s", m.Data)
	}
}

// pulls asks for messages of consumers that the attacker has not made.
func (w *world) pulls(a *abuser, chosen string) {
	inbox := a.NewInbox()
	answers, err := a.SubscribeSync(inbox + ".*")
	harness.Must(w.t, err)
	for i, name := range []string{chosen, w.account, "task-processor", "message-batch-processor", "feeds-position"} {
		for _, stream := range []string{"AGENT_STATE", "TASK_EXECUTION", "AGENT_MESSAGES", "KV_AGENT_STATE"} {
			harness.Must(w.t, a.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+stream+"."+name, fmt.Sprint(inbox, ".", i), []byte(`{"batch":10,"no_wait":true}`)))
			w.record("another's consumer", "CONSUMER.MSG.NEXT."+stream+"."+name, a, "nothing")
		}
	}
	_, err = a.Request("queries.engine.status", nil, harness.Patience) // behind the answers to what was sent before
	harness.Must(w.t, err)
	for {
		m, err := answers.NextMsg(50 * time.Millisecond)
		if errors.Is(err, nats.ErrNoResponders) {
			continue
		}
		if err != nil {
			break
		}
		if m.Header.Get("Status") == "" {
			w.t.Errorf("%s pulls from another's consumer: %s %.200s", a.name, m.Subject, m.Data)
		}
	}
	_ = answers.Unsubscribe() // the connection may be closed
}

// republished are rows of every agent under a name that patterns of agents match.
func (w *world) republished() {
	for _, a := range w.attackers {
		for _, subject := range []string{"agents.state.kv.>", "agents.state.kv.*", "agents.state.kv.$KV.AGENT_STATE.alice.hidden.k", "agents.state.kv.$KV.AGENT_STATE.alice.>", "agents.*.kv.>"} {
			for api, body := range map[string]string{
				"STREAM.MSG.GET.AGENT_STATE": `{"last_by_subj":"` + subject + `"}`, "DIRECT.GET.AGENT_STATE": `{"seq":1,"next_by_subj":"` + subject + `"}`, "STREAM.INFO.AGENT_STATE": `{"subjects_filter":"` + subject + `"}`,
				"CONSUMER.CREATE.AGENT_STATE": `{"stream_name":"AGENT_STATE","config":{"filter_subject":"` + subject + `","deliver_subject":"_INBOX.kv"}}`,
			} {
				code, text := w.ask(a, "$JS.API."+api, body, nil)
				if code != "403" {
					w.t.Errorf("%s: %s %s: %q %.300s", a.name, api, body, code, text)
				}
				w.record("republished rows", "$JS.API."+api+" "+body, a, code)
			}
		}
	}
}
