package security

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/test/harness"
)

var update = flag.Bool("update", false, "write docs/explanation/security-cases.md")

// world is a running engine, what the victim has in it, and who attacks it.
type world struct {
	t         *testing.T
	e         *harness.Engine
	victim    *harness.Client
	admin     *harness.Client // may do everything
	worker    *harness.Client // pulls all tasks; nil = there is none
	account   string          // of the victim, or of the worker; empty in development mode
	operator  *nats.Conn
	attackers []*abuser
	results   results
}

type abuser struct {
	*harness.Client
	name    string
	refused chan error // by the server
	dev     bool
}

// results are what the cases said: by kind, by case, by attacker.
type results map[string]map[string]map[string]string

func (w *world) record(kind, name string, a *abuser, result string) {
	if w.account != "" {
		name = strings.ReplaceAll(name, w.account, "ACCOUNT")
	} else {
		name = strings.ReplaceAll(name, "tm..", "tm.ACCOUNT.")
	}
	if w.results[kind] == nil {
		w.results[kind] = map[string]map[string]string{}
	}
	if w.results[kind][name] == nil {
		w.results[kind][name] = map[string]string{}
	}
	w.results[kind][name][a.name] = result
}

// The agents of the attackers begin with their names; alice's is alice.
const ghost = "ghost" // an agent that is not there

func devWorld(t *testing.T, all results) *world {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	w := &world{t: t, e: e, victim: e.Client(t), operator: e.Operator(t), results: all}
	c, refused := attacker(t, e)
	w.attackers = []*abuser{{c, "development mode", refused, true}}
	w.populate()
	return w
}

// abusers are the principals that attack alice.
var abusers = map[string][]string{
	"norole": {"--role", "none", "--agents", "norole"}, "bob": {"--role", "agent", "--agents", "bob*"},
	"worker": {"--role", "worker", "--agents", "worker"}, "reader": {"--role", "reader", "--agents", "reader*"},
}

func principalsWorld(t *testing.T, all results) *world {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--auth", "on"}})
	w := &world{t: t, e: e, operator: e.Operator(t), results: all}
	connectAs := func(name string, args ...string) (*harness.Client, chan error) {
		return connect(t, e, addPrincipal(t, e, name, args...))
	}
	w.victim, _ = connectAs("alice", "--role", "agent", "--agents", "alice")
	w.admin, _ = connectAs("root", "--role", "admin")
	var err error
	w.account, err = keys(t, e).Account("alice")
	harness.Must(t, err)
	for _, name := range slices.Sorted(maps.Keys(abusers)) {
		c, refused := connectAs(name, abusers[name]...)
		w.attackers = append(w.attackers, &abuser{c, name, refused, false})
	}
	w.populate()
	return w
}

// externalWorld is the same on an external server.
func externalWorld(t *testing.T, operator bool) *world {
	all := maps.Clone(abusers)
	all["alice"], all["root"] = []string{"--role", "agent", "--agents", "alice"}, []string{"--role", "admin"}
	x := startExternal(t, operator, 1, all)
	w := &world{t: t, e: x.engine(0), results: results{}, account: x.account("alice")}
	file := filepath.Join(x.data, "auth", map[bool]string{true: "engine.creds", false: "engine.nk"}[operator])
	nc, err := nats.Connect(x.url(0), x.credentials(file))
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	w.operator = nc
	w.victim, _ = x.as(0, "alice")
	w.admin, _ = x.as(0, "root")
	for _, name := range slices.Sorted(maps.Keys(abusers)) {
		c, refused := x.as(0, name)
		w.attackers = append(w.attackers, &abuser{c, name, refused, false})
	}
	w.populate()
	return w
}

// addPrincipal adds a principal beside the running engine and returns its credentials.
func addPrincipal(t *testing.T, e *harness.Engine, name string, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".creds")
	if r := harness.Run(t, append([]string{"auth", "add", name, "--out", file, "--data", e.Data}, args...)...); r.Code != 0 {
		t.Fatalf("auth add: %s%s", r.Stdout, r.Stderr)
	}
	creds, err := os.ReadFile(file)
	harness.Must(t, err)
	return creds
}

// populate gives the victim something of each kind.
func (w *world) populate() {
	v := w.victim
	v.MustSet(w.t, "alice", "k", "secret-of-alice", nil)
	v.MustDo(w.t, "agent.alice.heartbeat", M{})
	v.MustDo(w.t, "session.alice.open", M{"owner": "alice"})
	v.MustDo(w.t, "config.alice.set", M{"key": "k", "value": "secret-of-alice"})
	v.MustDo(w.t, "message.alice.direct", M{"to": "alice", "body": "secret-of-alice"})
	if w.admin == nil {
		w.admin = v
	}
	w.admin.MustDo(w.t, "task.t-alice.create", M{"kind": "secret-of-alice", "agent_id": "alice"})
	w.admin.MustDo(w.t, "claim.alice.acquire", M{"owner": "alice", "data": "secret-of-alice"})
	w.admin.MustDo(w.t, "view.alice.define", M{"from": "state", "agents": "alice", "columns": M{"k": M{"path": "/value", "type": "text"}}})
	w.admin.CaughtUp(w.t)
}

// sequences are the ends of the engine's streams, but the audit's, which grows with
// refusals, and the leases', which the engine renews.
func (w *world) sequences() string {
	w.t.Helper()
	m, err := w.operator.Request("$JS.API.STREAM.LIST", nil, harness.Patience)
	harness.Must(w.t, err)
	var list struct {
		Streams []struct {
			Config struct{ Name string }
			State  struct {
				Messages int    `json:"messages"`
				Last     uint64 `json:"last_seq"`
			}
		}
	}
	harness.Must(w.t, json.Unmarshal(m.Data, &list))
	var all []string
	for _, s := range list.Streams {
		if s.Config.Name == "OUTCOMES" {
			all = append(all, "OUTCOMES "+w.outcomes())
		} else if s.Config.Name != "AUDIT" && s.Config.Name != "KV_TIDEMARK_LEASES" {
			all = append(all, fmt.Sprintf("%s %d/%d", s.Config.Name, s.State.Messages, s.State.Last))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// unchanged runs attacks after which no stream of the engine may have changed.
func (w *world) unchanged(kind string, attacks func(a *abuser)) {
	w.t.Helper()
	for _, a := range w.attackers {
		before := w.sequences()
		attacks(a)
		harness.Must(w.t, a.Flush())
		_, err := a.Request("queries.engine.status", nil, harness.Patience) // behind what was sent before
		harness.Mustf(w.t, err, "%s is not answered after: %s", a.name, kind)
		if after := w.sequences(); after != before {
			w.t.Errorf("%s, %s: the streams were\n%s\nand are\n%s", a.name, kind, before, after)
		}
	}
}

// outcomes are the subjects of all outcomes, but those of the commands by which the engine
// finds out whether the accounts of an external server reach it.
func (w *world) outcomes() string {
	w.t.Helper()
	m, err := w.operator.Request("$JS.API.STREAM.INFO.OUTCOMES", []byte(`{"subjects_filter":">"}`), harness.Patience)
	harness.Must(w.t, err)
	var info struct {
		State struct{ Subjects map[string]int }
	}
	harness.Must(w.t, json.Unmarshal(m.Data, &info))
	maps.DeleteFunc(info.State.Subjects, func(subject string, _ int) bool { return strings.Contains(subject, ".outcomes.probe-") })
	return fmt.Sprint(info.State.Subjects)
}

// status is what a reply says: its error's code, "" for success, "unheard" without one.
func status(m *nats.Msg, err error) (code, text string) {
	if err != nil {
		return "unheard", err.Error()
	}
	if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
		return code, string(m.Data)
	}
	if code := m.Header.Get("Status"); code != "" {
		return code, m.Header.Get("Description")
	}
	var js struct{ Error *struct{ Code int } }
	if json.Unmarshal(m.Data, &js) == nil && js.Error != nil && js.Error.Code != 0 {
		return fmt.Sprint(js.Error.Code), string(m.Data)
	}
	return "", string(m.Data)
}

func (w *world) ask(a *abuser, subject, body string, header nats.Header) (code, text string) {
	return status(a.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body), Header: header}, answerTime))
}

// forbidden asks for something of alice's. It must be refused alike for what exists and
// what does not, and show nothing of alice's.
func (w *world) forbidden(kind, subject, body string, header nats.Header) {
	w.t.Helper()
	for _, a := range w.attackers {
		w.forbiddenFor(a, kind, subject, body, header)
	}
}

func (w *world) forbiddenFor(a *abuser, kind, subject, body string, header nats.Header) {
	w.t.Helper()
	code, text := w.ask(a, subject, body, header)
	name := subject
	if body != "" {
		name += " " + body
	}
	if (code != "403" && !(code == "unheard" && strings.Contains(text, "no responders"))) || strings.Contains(text, "secret") {
		w.t.Errorf("%s, %s: %s %s: %q %.300s", a.name, kind, subject, body, code, text)
	}
	w.record(kind, name, a, code)
	swap := strings.NewReplacer("t-alice", "t-"+ghost, "alice", ghost)
	if swap.Replace(subject+body) == subject+body || code != "403" {
		return
	}
	if other, missing := w.ask(a, swap.Replace(subject), swap.Replace(body), header); other != code || missing != swap.Replace(text) {
		w.t.Errorf("%s, %s: %s %s shows what exists:\n%s %s\n%s %s", a.name, kind, subject, body, code, text, other, missing)
	}
}

// doors are all commands and queries about alice.
func (w *world) doors() {
	for _, name := range commands.Verbs() {
		aggregate, verb, _ := strings.Cut(name, ".")
		id := "alice"
		if aggregate == "task" {
			id = "t-alice"
		}
		for _, a := range w.attackers {
			if aggregate == "task" && slices.Contains([]string{"claim", "complete", "fail", "next", "progress", "start"}, verb) && (a.name == "bob" || a.name == "worker") {
				continue // decided when it is known who holds the task: below
			}
			if aggregate == "claim" && (a.name == "bob" || a.name == "worker") {
				continue // decided by the owner in the body: below
			}
			w.forbiddenFor(a, "command", "commands."+aggregate+"."+id+"."+verb, `{"key":"k","value":"stolen","owner":"bob","kind":"x","agent_id":"bob"}`, nil)
		}
	}
	w.forbidden("a task of alice", "commands.tasks.next", `{"agent_id":"alice","wait_ms":60000}`, nil)
	for _, verb := range []string{"claim", "start", "complete", "fail", "progress"} {
		body := map[string]string{"fail": `{"reason":"stolen"}`, "start": `{"agent_id":"alice"}`, "claim": `{"agent_id":"alice"}`}[verb]
		w.forbidden("a task of alice", "commands.task.t-alice."+verb, body+map[bool]string{true: "{}"}[body == ""], nil)
	}
	for verb, body := range map[string]string{"acquire": `{"owner":"alice"}`, "renew": `{"owner":"alice","fence":1}`, "release": `{"owner":"alice","fence":1}`} {
		w.forbidden("a claim as alice", "commands.claim.alice."+verb, body, nil)
	}
	for _, name := range query.Names() {
		noun, q, _ := strings.Cut(name, ".")
		if q == "list" || listed(name) || noun == "engine" || noun == "command" {
			continue
		}
		id := "alice"
		if noun == "task" {
			id = "t-alice"
		}
		for _, body := range []string{`{"key":"k"}`, `{"key":"k","at_revision":1}`, `{"key":"k","consistency":"strong"}`, `{"key":"k","from":1,"to":2}`, ``} {
			if noun == "task" || noun == "claim" {
				body = "{}" // it is decided when the task or claim is known
			}
			if noun == "view" && q == "get" {
				body = `{"key":"k"}` // it is decided when it is known what the view shows
			}
			w.forbidden("query", "queries."+noun+"."+id+"."+q, body, nil)
		}
	}
	for _, body := range []string{
		`{"commands":[{"subject":"agent.alice.set","body":{"key":"k","value":"stolen"}}]}`,
		`{"atomic":true,"commands":[{"subject":"agent.alice.set","body":{"key":"k","value":"stolen"}}]}`,
		`{"atomic":true,"commands":[{"subject":"commands.agent.alice.delete","body":{"key":"k"}},{"subject":"agent.alice.set","body":{"key":"k","value":"stolen"}}]}`,
		`{"commands":[],"require":[{"subject":"agent.alice","key":"k","version":1}]}`,
		`{"atomic":true,"commands":[{"subject":"agent.bob.set","body":{"key":"k","value":1}}],"require":[{"subject":"agent.alice","key":"k","version":1}]}`,
		`{"atomic":true,"commands":[{"subject":"agent.bob.set","body":{"key":"k","value":1}}],"require":[{"subject":"claim.alice","owner":"alice"}]}`,
	} {
		for _, a := range w.attackers {
			code, text := w.ask(a, "commands.batch", body, nil)
			if code != "403" && !strings.Contains(text, `"forbidden"`) && !(code == "400" && strings.Contains(body, "require")) || strings.Contains(text, "secret") {
				w.t.Errorf("%s: batch %s: %s %s", a.name, body, code, text)
			}
			w.record("batch", body, a, "403")
		}
	}
	// Lists show nothing of alice's.
	for _, name := range query.Names() {
		noun, q, _ := strings.Cut(name, ".")
		subject := "queries." + noun + "." + q
		if q == "list" && !strings.HasSuffix(noun, "s") {
			subject = "queries." + noun + "s." + q
		}
		if q != "list" && !listed(name) && noun != "engine" {
			continue
		}
		bodies := []string{`{}`}
		switch name {
		case "events.read":
			bodies = append(bodies, `{"limit":1000}`, `{"subject":"agent.alice.>"}`, `{"subject":"agent.*.state.k"}`, `{"subject":"task.t-alice"}`, `{"subject":"*.alice"}`, `{"subject":"claim.*","wait_ms":1}`)
		case "state.find":
			bodies = append(bodies, `{"agent_prefix":"alice"}`, `{"key":"k"}`, `{"text":"secret"}`, `{"path":"$ starts with \"s\""}`)
		}
		for _, body := range bodies {
			for _, a := range w.attackers {
				code, text := w.ask(a, subject, body, nil)
				if code != "403" && strings.Contains(text, "alice") || strings.Contains(text, "secret-of") {
					w.t.Errorf("%s: %s %s: %s %s", a.name, subject, body, code, text)
				}
				w.record("list", subject+" "+body, a, "nothing")
			}
		}
	}
	// Forms of a name that is not one.
	for _, subject := range []string{"commands.agent.ALICE.set", "commands.Agent.alice.set", "commands.agent.alice.SET", "commands.agent.alice .set", "commands.agent.*.set", "commands.agent.>.set",
		"commands.agent..set", "commands.agent.alice", "commands.agent.alice.set.x", "queries.agent.*.get", "queries.agent.ALICE.get", "queries.AGENT.alice.get", "commands.agent.%61lice.set", "commands.agent.alic\u0435.set"} {
		for _, a := range w.attackers {
			if code, text := w.ask(a, subject, `{"key":"k","value":"stolen"}`, nil); code == "" {
				w.t.Errorf("%s: %q: %s", a.name, subject, text)
			}
			w.record("forms of a name", fmt.Sprintf("%q", subject), a, "refused")
		}
	}
}

// listed reports whether a query answers what the sender may see of everything.
func listed(name string) bool { return name == "state.find" || name == "events.read" }

// headers that a client may not believe to be read.
func (w *world) headers() {
	for _, name := range []string{
		"Nats-Request-Info", "nats-request-info", "Tidemark-Actor", "Tidemark-Account", "Tidemark-Principal", "Tidemark-Command-Id", "Tidemark-Time", "Tidemark-Internal",
		"Nats-Expected-Last-Subject-Sequence", "Nats-Expected-Stream", "Nats-Rollup", "Nats-Msg-Id", "Nats-Subject", "Nats-Stream", "Nats-Sequence", "Nats-TTL", "Nats-Schedule", "KV-Operation",
	} {
		for _, value := range []string{fmt.Sprintf(`{"acc":%q,"kind":"Client","user":"alice"}`, w.account), "alice", "operator"} {
			if name == "Nats-Msg-Id" && value[0] == '{' {
				continue // no command id
			}
			w.forbidden("header", "commands.agent.alice.set", `{"key":"k","value":"stolen"}`, nats.Header{name: {value}})
		}
	}
}

// api are requests of the JetStream API about what is alice's or the engine's.
func (w *world) api() {
	streams := append([]string{"AUDIT", "NONE"}, engineStreams...)
	for _, s := range streams {
		for _, verb := range []string{"PURGE", "DELETE", "UPDATE", "CREATE", "SNAPSHOT", "RESTORE", "MSG.DELETE", "LEADER.STEPDOWN", "PEER.REMOVE"} {
			body := map[string]string{
				"PURGE": `{"filter":">"}`, "UPDATE": fmt.Sprintf(`{"name":%q,"sealed":true,"subjects":["x"]}`, s), "CREATE": fmt.Sprintf(`{"name":%q,"mirror":{"name":"EVENTS"}}`, s),
				"SNAPSHOT": `{"deliver_subject":"_INBOX.x"}`, "RESTORE": `{"config":{},"state":{}}`, "MSG.DELETE": `{"seq":1}`,
			}[verb]
			for _, a := range w.attackers {
				if a.dev && s == "NONE" {
					continue // a stream of its own
				}
				w.forbiddenFor(a, "change a stream", "$JS.API.STREAM."+verb+"."+s, body, nil)
			}
		}
	}
	for _, name := range []string{"TASK_EXECUTION.task-processor", "TASK_EXECUTION.feeds-position", "AGENT_MESSAGES.message-batch-processor", "COMMANDS.lane-0", "COMMANDS.none", "EVENTS.x", "NONE.x"} {
		for _, verb := range []string{"DELETE", "PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN"} {
			for _, a := range w.attackers {
				if a.dev && strings.HasPrefix(name, "NONE") || (a.dev || a.name == "worker" && strings.HasPrefix(name, "TASK")) && verb == "DELETE" {
					continue // of its own; it reads the whole stream and learns that there is no such consumer: unchanged at the end
				}
				w.forbiddenFor(a, "change a consumer", "$JS.API.CONSUMER."+verb+"."+name, `{"pause_until":"2100-01-01T00:00:00Z","seq":1,"group":"x"}`, nil)
			}
		}
	}
	for _, api := range []string{"META.LEADER.STEPDOWN", "SERVER.REMOVE", "ACCOUNT.PURGE.X", "ACCOUNT.STREAM.MOVE.X.EVENTS", "STREAM.TEMPLATE.CREATE.X", "STREAM.TEMPLATE.NAMES", "NOTHING", "STREAM", "CONSUMER.CREATE"} {
		for _, a := range w.attackers {
			code, text := w.ask(a, "$JS.API."+api, `{}`, nil)
			if code == "" || code == "unheard" && !strings.Contains(text, "no responders") && !a.dev {
				w.t.Errorf("%s: %s: %q %s", a.name, api, code, text)
			}
			w.record("manage the server", "$JS.API."+api, a, "refused")
		}
	}
	for _, subject := range []string{"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT.ENGINE.INFO", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.SERVER.PING.ACCOUNTZ"} {
		for _, a := range w.attackers {
			code, text := status(a.Request(subject, []byte("{}"), 200*time.Millisecond))
			if code != "unheard" {
				w.t.Errorf("%s: %s: %q %s", a.name, subject, code, text)
			}
			w.record("manage the server", subject, a, "unheard")
		}
	}
}

// reads are all ways to a message that is not the attacker's.
func (w *world) reads() {
	subjects := map[string]string{
		"KV_AGENT_STATE": "$KV.AGENT_STATE.alice.k", "KV_TASK_STATE": "$KV.TASK_STATE.t-alice", "KV_SESSION_DATA": "$KV.SESSION_DATA.alice", "KV_CLAIM_STATE": "$KV.CLAIM_STATE.alice", "KV_AGENT_CONFIG": "$KV.AGENT_CONFIG.alice.k", "KV_REMINDER_STATE": "$KV.REMINDER_STATE.alice",
		"AGENT_STATE": "agents.state.alice.k", "TASK_EXECUTION": "tasks.created.t-alice", "AGENT_MESSAGES": "messages.direct.alice.alice", "EVENTS": "events.agent.alice.state.k",
		"OUTCOMES": "outcomes.x", "COMMANDS": "enqueue.agent.alice.set", "AUDIT": "audit.principal.alice", "KV_QUERY_CACHE": "$KV.QUERY_CACHE.alice", "NONE": "alice",
	}
	for s, subject := range subjects {
		root := subject[:strings.LastIndexByte(subject, '.')+1]
		for _, a := range w.attackers {
			if a.name == "worker" && (s == "TASK_EXECUTION" || s == "KV_TASK_STATE") {
				continue // its role watches all tasks
			}
			kind := "read a stream"
			for _, get := range []string{
				`{"seq":1}`, `{}`, ``, `{"seq":1,"next_by_subj":">"}`, `{"next_by_subj":"` + subject + `"}`, `{"last_by_subj":"` + subject + `"}`, `{"last_by_subj":"` + root + `*"}`, `{"seq":1,"batch":100}`,
				`{"seq":1,"batch":100,"next_by_subj":"` + root + `>"}`, `{"multi_last":["` + subject + `"]}`, `{"multi_last":[">"],"batch":10}`, `{"multi_last":["` + root + `bob","` + subject + `"]}`,
				`{"start_time":"2020-01-01T00:00:00Z","batch":9}`, `{"LAST_BY_SUBJ":"` + subject + `"}`, `{"up_to_seq":9,"multi_last":["` + subject + `"]}`, `{"last_by_subj":"","seq":2}`,
			} {
				w.forbiddenFor(a, kind, "$JS.API.STREAM.MSG.GET."+s, get, nil)
				w.forbiddenFor(a, kind, "$JS.API.DIRECT.GET."+s, get, nil)
			}
			for _, last := range []string{subject, root + "*", root + ">", ">", "*.>"} {
				w.forbiddenFor(a, kind, "$JS.API.DIRECT.GET."+s+"."+last, "", nil)
			}
			for _, filter := range []string{`{"subjects_filter":">"}`, `{"subjects_filter":"` + subject + `"}`, `{"subjects_filter":"` + root + `*"}`} {
				w.forbiddenFor(a, kind, "$JS.API.STREAM.INFO."+s, filter, nil)
			}
			for _, more := range []string{
				``, `,"filter_subject":""`, `,"filter_subject":">"`, `,"filter_subject":"` + subject + `"`, `,"filter_subjects":["` + root + `bob","` + subject + `"]`, `,"filter_subject":"` + root + `*"`,
				`,"durable_name":"d"`, `,"deliver_subject":"_INBOX.x","filter_subject":"` + subject + `"`, `,"ack_policy":"explicit","inactive_threshold":999999999999999`, `,"name":"n","max_waiting":100000`,
				`,"deliver_subject":"agents.state.alice.k"`, `,"deliver_subject":"commands.agent.bob.set"`, `,"deliver_subject":"$JS.API.STREAM.DELETE.EVENTS"`, `,"deliver_subject":"tm.` + w.account + `.inbox.x"`,
			} {
				body := fmt.Sprintf(`{"stream_name":%q,"config":{"deliver_policy":"all"%s}}`, s, more)
				code, text := w.ask(a, "$JS.API.CONSUMER.CREATE."+s, body, nil)
				if code != "403" && code != "400" || strings.Contains(text, "secret") {
					w.t.Errorf("%s: CONSUMER.CREATE.%s %s: %q %s", a.name, s, body, code, text)
				}
				w.record("read through a consumer", "CONSUMER.CREATE."+s+" "+more, a, code)
			}
		}
	}
	for _, a := range w.attackers {
		for _, api := range []string{"STREAM.NAMES", "STREAM.LIST", "STREAM.NAMES ", "INFO"} {
			api, body := strings.TrimSpace(api), map[bool]string{true: `{"subject":"events.>"}`}[strings.HasSuffix(api, " ")]
			_, text := w.ask(a, "$JS.API."+api, body, nil)
			for _, name := range []string{"EVENTS", "COMMANDS", "AUDIT", "OUTCOMES", "TIMERS", "DEAD_LETTERS", "QUARANTINE"} {
				if strings.Contains(text, `"`+name+`"`) || strings.Contains(text, "KV_TIDEMARK") {
					w.t.Errorf("%s: %s shows %s", a.name, api, name)
				}
			}
			w.record("read a stream", "$JS.API."+api+" "+body, a, "nothing of the engine's")
		}
	}
}

// publishes says and asks what only the engine or alice does.
func (w *world) publishes() {
	subjects := slices.Concat(engineSubjects, []string{
		"agents.heartbeat.alice", "agents.state.alice", "agents.state.kv.$KV.AGENT_STATE.alice.k", "tasks.completed.t-alice", "tasks.failed.t-alice.stolen", "messages.broadcast.alice", "messages.notification.x",
		"audit.principal.bob", "lanes.0.agent.alice.set", "lanes.0.agent.alice.set." + w.account, "tm." + w.account + ".outcomes.x", "tm." + w.account + ".inbox.x", "tm." + w.account + ".api.STREAM.NAMES",
		"$KV.TASK_STATE.t-alice", "$KV.SESSION_DATA.alice", "$KV.CLAIM_STATE.alice", "$KV.AGENT_CONFIG.alice.k", "$KV.REMINDER_STATE.alice", "$KV.QUERY_CACHE.x", "$JS.ACK.COMMANDS.lane-0.1.1.1.1.1", "$JS.ACK.TASK_EXECUTION.task-processor.1.1.1.1.0", "$JS.ACK.TASK_EXECUTION." + w.account + "X.1.1.1.1.0", "$JS.ACK.AGENT_MESSAGES.message-batch-processor.1.1.1.1.0",
		"$JS.FC.EVENTS.x.y", "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.CONSUMER.DELETE.COMMANDS.lane-0", "$JS.EVENT.ADVISORY.API", "$SYS.REQ.SERVER.RELOAD", "$SYS.SERVER.X.STATSZ", "$SRV.INFO.tidemark", "_INBOX.x", "events.x",
	})
	for _, subject := range subjects {
		kind := "publish"
		w.unchanged(kind+" "+subject, func(a *abuser) {
			if strings.HasPrefix(subject, "enqueue.") || a.dev && strings.HasPrefix(subject, "commands.") {
				return // they are stored, and refused when they are executed; the right of development mode
			}
			for _, header := range []nats.Header{
				nil, {"Nats-Msg-Id": {"x"}, "Nats-Expected-Stream": {"EVENTS"}}, {"KV-Operation": {"DEL"}}, {"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}}, {"Nats-Rollup": {"all"}}, {"Nats-TTL": {"1s"}},
				{"Nats-Schedule": {"@at 2020-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"events.x"}}, {"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}}, {"Nats-Request-Info": {`{"acc":"X"}`}},
			} {
				harness.Must(w.t, a.PublishMsg(&nats.Msg{Subject: subject, Header: header, Data: []byte(`{"type":"agent.state_set","forged":true,"key":"k","value":"stolen"}`)}))
			}
			w.record(kind, subject, a, "no effect")
		})
		w.unchanged("reply to "+subject, func(a *abuser) {
			for _, asked := range []string{"queries.engine.status", "queries.agent.alice.get", "$SRV.PING", "$SRV.INFO.tidemark", "$SRV.STATS.tidemark", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.KV_AGENT_STATE",
				"$JS.API.DIRECT.GET.KV_AGENT_STATE.$KV.AGENT_STATE.alice.k", "$JS.API.STREAM.MSG.GET.KV_AGENT_STATE", "$JS.API.CONSUMER.MSG.NEXT.TASK_EXECUTION.none", "enqueue.agent.bad", "commands.agent.x", "commands.batch", "$SYS.REQ.USER.INFO"} {
				if strings.HasPrefix(asked, "enqueue.") && (a.dev || subject == "enqueue.agent.a1.set") {
					continue
				}
				harness.Must(w.t, a.PublishRequest(asked, subject, []byte(`{}`)))
				w.record("reply into the engine", "14 requests with the reply subject "+subject, a, "no effect")
			}
		})
	}
}

// listens subscribes to what is for others while the victim works.
func (w *world) listens() {
	type ear struct {
		a       *abuser
		subject string
		sub     *nats.Subscription
	}
	var ears []ear
	for _, a := range w.attackers {
		for _, subject := range []string{">", "*.>", "*.*.>", "commands.>", "commands.agent.alice.set", "commands.*.*.*", "queries.>", "queries.agent.alice.get", "enqueue.>", "enqueue.agent.alice.*", "tm.>", "tm." + w.account + "X.>",
			"_INBOX.>", "_R_.>", "$SRV.>", "$SRV.PING", "$SRV.*.tidemark", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$JS.EVENT.>", "$KV.>", "$KV.AGENT_STATE.>", "$SYS.>", "$SYS.ACCOUNT.>", "events.>", "outcomes.>", "outcomes.*",
			"lanes.>", "audit.>", "timers.>", "deadletters.>", "engines.>", "agents.>", "agents.state.alice.>", "agents.heartbeat.alice", "tasks.>", "messages.>", "messages.direct.alice.*", "tmapi.>", "tmjs.>"} {
			for _, group := range []string{"", "tidemark", "q", "gate", "intake"} {
				sub, err := a.QueueSubscribeSync(subject, group)
				if group == "" {
					sub, err = a.SubscribeSync(subject)
				}
				harness.Must(w.t, err)
				ears = append(ears, ear{a, subject, sub})
			}
		}
		harness.Must(w.t, a.Flush())
	}
	w.victim.MustSet(w.t, "alice", "k", "secret-of-alice", M{"strategy": "last_write_wins"})
	w.victim.MustGet(w.t, "alice", "k", nil)
	m, err := w.victim.Request("enqueue.agent.alice.set", []byte(`{"key":"k2","value":"secret-of-alice"}`), harness.Patience)
	if code, text := status(m, err); code != "" {
		w.t.Errorf("the victim's enqueue: %s %s", code, text)
	}
	_, err = w.victim.Request("$SRV.PING.tidemark", nil, harness.Patience)
	harness.Mustf(w.t, err, "the victim asks who serves")
	w.admin.CaughtUp(w.t)
	for _, a := range w.attackers {
		harness.Must(w.t, a.Flush()) // behind what the server has sent to it
	}
	for _, one := range ears {
		feeds := one.a.dev || one.a.name == "worker" // hears what the engine publishes
		for waiting, _, err := one.sub.Pending(); waiting > 0 && err == nil; waiting, _, err = one.sub.Pending() {
			m, err := one.sub.NextMsg(answerTime)
			if err != nil {
				break // the subscription was refused
			}
			root, _, _ := strings.Cut(m.Subject, ".")
			if feeds && slices.Contains([]string{"agents", "tasks", "messages", "outcomes", "_INBOX"}, root) {
				continue
			}
			if strings.Contains(string(m.Data), "secret") || strings.Contains(string(m.Data), "alice") {
				w.t.Errorf("%s hears on %s: %s %.200s", one.a.name, one.subject, m.Subject, m.Data)
			}
		}
		w.record("listen", one.subject, one.a, "nothing")
		_ = one.sub.Unsubscribe() // it may be refused
	}
}

// TestAbuse tries what must not be possible, with clients without credentials, with
// principals of four roles, and with principals of a few grants. docs/explanation/security-cases.md lists the cases.
func TestAbuse(t *testing.T) {
	all, ran := results{}, 0
	t.Run("development mode", func(t *testing.T) {
		w := devWorld(t, all)
		for name, do := range map[string]func(){"api": w.api, "publishes": w.publishes, "listens": w.listens} {
			t.Log(name)
			do()
		}
		w.intact()
		ran++
	})
	t.Run("principals", func(t *testing.T) {
		principalsWorld(t, all).everything()
		ran++
	})
	t.Run("narrow grants", func(t *testing.T) {
		narrowWorld(t, all).around()
		ran++
	})
	for name, operator := range map[string]bool{"external server": false, "external server in operator mode": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait for what must not come
			externalWorld(t, operator).everything()
		})
	}
	if t.Failed() || ran < 3 { // a part of it was run
		return
	}
	page(t, all)
}

// everything is what principals try.
func (w *world) everything() {
	w.t.Helper()
	for _, step := range []struct {
		name string
		do   func()
	}{{"doors", w.doors}, {"headers", w.headers}, {"api", w.api}, {"reads", w.reads}, {"publishes", w.publishes}, {"listens", w.listens}} {
		w.t.Log(step.name)
		step.do()
	}
	w.intact()
}

// intact compares what the victim has with what it had.
func (w *world) intact() {
	w.t.Helper()
	if got := w.victim.MustGet(w.t, "alice", "k", M{"consistency": "strong"}); string(got.Value) != `"secret-of-alice"` {
		w.t.Errorf("the victim's entry is %s", got)
	}
	w.e.Verify()
}

// page compares the page of cases with what was tried.
func page(t *testing.T, all results) {
	t.Helper()
	var b strings.Builder
	total := 0
	b.WriteString("# Cases of abuse\n\nWhat `test/security` has tried on a running engine. What was tried as\nprincipals was also tried on external servers, in both modes of accounts. The test `TestAbuse` writes this\npage (`go test ./test/security -run TestAbuse -update`) and fails when it differs.\n\n")
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "## %s\n\n| case | tried as | answer |\n|---|---|---|\n", kind)
		for _, name := range slices.Sorted(maps.Keys(all[kind])) {
			byAnswer := map[string][]string{}
			for _, who := range slices.Sorted(maps.Keys(all[kind][name])) {
				answer := all[kind][name][who]
				byAnswer[answer] = append(byAnswer[answer], who)
				total++
			}
			for _, answer := range slices.Sorted(maps.Keys(byAnswer)) {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(strings.ReplaceAll(name, "|", `\|`), "`", "'"), strings.Join(byAnswer[answer], ", "), answer)
			}
		}
		b.WriteString("\n")
	}
	t.Logf("%d cases", total)
	file := filepath.Join("..", "..", "docs", "explanation", "security-cases.md")
	if *update {
		harness.Must(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	if was, err := os.ReadFile(file); err != nil || string(was) != b.String() {
		t.Errorf("%s is not what was tried: run the test with -update (%v)", file, err)
	}
}
