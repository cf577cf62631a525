package security

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// around is what principals with few grants try.
func (w *world) around() {
	w.t.Helper()
	for _, step := range []struct {
		name string
		do   func()
	}{{"read", w.readAround}, {"names", w.names}, {"republished", w.republished}, {"lists", w.lists}, {"queries", w.narrowQueries}, {"commands", w.narrowCommands}} {
		w.t.Log(step.name)
		step.do()
	}
	if got := w.victim.MustGet(w.t, "alice", "hidden.k", M{"consistency": "strong"}); string(got.Value) != `"secret-of-alice"` || got.Version != 1 {
		w.t.Errorf("alice's entry is %+v", got)
	}
	w.e.Verify()
}

// lists ask for many at once; what an answer leaves out must not be in its cursor either. The
// admin asks first, so that there are answers in caches.
func (w *world) lists() {
	bodies := map[string][]string{
		"queries.agents.list":    {`{}`, `{"prefix":"ali"}`, `{"phase":"active"}`, `{"cursor":"alice"}`, `{"cursor":"aliba"}`},
		"queries.tasks.list":     {`{}`, `{"agent_id":"alice"}`, `{"status":"started"}`, `{"kind":"k"}`, `{"prefix":"t-"}`},
		"queries.sessions.list":  {`{}`, `{"owner":"alice"}`, `{"prefix":"s-"}`},
		"queries.claims.list":    {`{}`, `{"owner":"alice"}`, `{"status":"held"}`},
		"queries.reminders.list": {`{}`, `{"agent_id":"alice"}`, `{"prefix":"r-"}`},
		"queries.views.list":     {`{}`, `{"prefix":"v-"}`, `{"status":"defined"}`},
		"queries.state.find": {`{}`, `{"agent_prefix":"alice"}`, `{"key":"hidden.k"}`, `{"key_prefix":"hidden"}`, `{"text":"secret"}`, `{"contains":"secret-of-alice"}`, `{"path":"$ starts with \"sec\""}`,
			`{"path":"$ ? (@ like_regex \"sec\")"}`, `{"cursor":"alice.hidden.a"}`},
		"queries.agent.alice.entries":  {`{}`, `{"prefix":"hidden"}`, `{"at_revision":1000}`, `{"at_time":"2200-01-01T00:00:00Z"}`, `{"cursor":"hidden.a"}`},
		"queries.config.alice.entries": {`{}`, `{"prefix":"hidden"}`, `{"at_revision":1000}`, `{"cursor":"hidden.a"}`},
		"queries.events.read": {`{}`, `{"subject":"agent.alice.>"}`, `{"subject":"*.alice.>"}`, `{"subject":"agent.*.conflict.>"}`, `{"subject":"agent.alice.state.hidden.k"}`, `{"subject":"task.*"}`, `{"subject":"view.*"}`,
			`{"subject":"message.>"}`, `{"subject":"reminder.*"}`, `{"subject":"claim.*"}`, `{"subject":"session.*"}`, `{"subject":"config.>"}`, `{"limit":1000}`, `{"limit":500,"from":1}`},
		"queries.view.v-alice.list":   {`{}`, `{"where":{"v":"secret"}}`},
		"queries.message.alice.inbox": {`{}`, `{"kind":"direct"}`, `{"unread":true}`},
	}
	for subject, all := range bodies {
		for _, body := range all {
			var members map[string]json.RawMessage
			harness.Must(w.t, json.Unmarshal([]byte(body), &members))
			forms := []M{{}, {"limit": 1}}
			if !strings.Contains(subject, "events") && !strings.Contains(subject, "view.") && !strings.Contains(subject, "find") && members["at_revision"] == nil {
				forms = append(forms, M{"max_age_ms": 60_000})
			}
			for _, form := range forms {
				for name, value := range members {
					form[name] = value
				}
				if strings.Contains(subject, "events") {
					form["wait_ms"] = 0
				}
				w.page(&abuser{Client: w.admin, name: "root"}, subject, form)
				for _, a := range w.attackers {
					text := w.page(a, subject, form)
					w.shows(a, "list", subject+" "+body, subject+body, text)
				}
			}
		}
	}
}

// page is all pages of a list, with the cursors.
func (w *world) page(a *abuser, subject string, form M) (text string) {
	w.t.Helper()
	for range 20 {
		body, err := json.Marshal(form)
		harness.Must(w.t, err)
		code, page := status(a.Request(subject, body, harness.Patience))
		text += code + " " + page + "\n"
		var next struct {
			Cursor     string
			Next, Head uint64
		}
		if code == "unheard" {
			w.t.Errorf("%s: %s %s: %s", a.name, subject, body, page)
			return text
		}
		_ = json.Unmarshal([]byte(page), &next) // an error has none
		form = with(form, "cursor", next.Cursor)
		if next.Next > 0 {
			form = with(form, "from", next.Next)
			delete(form, "cursor")
		}
		if next.Cursor == "" && next.Next <= 1 || next.Next > next.Head {
			break
		}
	}
	return text
}

func with(form M, name string, value any) M {
	changed := M{name: value}
	for name, value := range form {
		if changed[name] == nil {
			changed[name] = value
		}
	}
	return changed
}

// narrowQueries ask for one thing of alice's: refused, whether it is there or not.
func (w *world) narrowQueries() {
	for _, a := range w.attackers {
		for _, body := range []string{`{"key":"hidden.k"}`, `{"key":"hidden.k","at_revision":1000}`, `{"key":"hidden.k","consistency":"strong"}`, `{"key":"hidden.k","consistency":"hot"}`} {
			w.denied(a, "query", "queries.agent.alice.get", body)
		}
		for _, query := range []string{"agent.alice.history", "config.alice.get", "config.alice.history"} {
			w.denied(a, "query", "queries."+query, `{"key":"hidden.k"}`)
		}
		w.denied(a, "query", "queries.agent.alice.history", `{"key":"hidden.k","losers":true}`)
		for query, body := range map[string]string{
			"agent.alice.timeline": `{}`, "agent.alice.diff": `{"from":0}`, "agent.alice.lifecycle": `{}`, "task.t-alice.get": `{}`, "task.t-alice.history": `{}`, "session.s-alice.get": `{}`, "session.s-alice.history": `{}`,
			"claim.c-alice.get": `{}`, "claim.c-alice.history": `{}`, "reminder.r-alice.get": `{}`, "reminder.r-alice.history": `{}`, "view.v-alice.get": `{"key":"alice.hidden.k"}`, "view.v-alice.definition": `{}`, "view.v-alice.history": `{}`,
			"message.alice.inbox": `{}`, "message.alice.history": `{}`,
		} {
			w.denied(a, "query", "queries."+query, body)
		}
		for _, subject := range []string{"agent.alice.state.hidden.k", "task.t-alice", "view.v-alice", "reminder.r-alice", "message.alice", "session.s-alice"} {
			_, text := w.ask(a, "queries.events.read", `{"wait_ms":0,"subject":"`+subject+`"}`, nil)
			w.shows(a, "query", "queries.events.read of "+subject, subject, text)
		}
		for _, stream := range []string{"KV_VIEW_v-alice", "KV_VIEW_v-ghost"} {
			for _, api := range []string{"STREAM.INFO." + stream, "STREAM.MSG.GET." + stream, "DIRECT.GET." + stream, "CONSUMER.CREATE." + stream} {
				code, text := w.ask(a, "$JS.API."+api, fmt.Sprintf(`{"seq":1,"stream_name":%q,"config":{"deliver_subject":"_INBOX.x"}}`, stream), nil)
				if code != "403" {
					w.t.Errorf("%s: %s: %q %s", a.name, api, code, text)
				}
				w.record("query", "$JS.API."+api, a, code)
			}
		}
		code, text := w.ask(a, "queries.command.q-alice.get", `{}`, nil)
		if code != "404" {
			w.t.Errorf("%s reads an outcome of another: %s %s", a.name, code, text)
		}
		w.record("query", "queries.command.q-alice.get", a, code)
	}
}

// absent turns a request for something of alice's into one for something that is not there.
var absent = strings.NewReplacer("alice", ghost, "hidden.k", "hidden.none")

// denied asks for something of alice's, which must be refused as if it were not there.
func (w *world) denied(a *abuser, kind, subject, body string) {
	w.t.Helper()
	w.same(a, kind, subject, body, absent.Replace(body), nil)
}

func (w *world) same(a *abuser, kind, subject, body, otherBody string, header nats.Header) {
	w.t.Helper()
	code, text := w.ask(a, subject, body, header)
	other, missing := w.ask(a, absent.Replace(subject), otherBody, header)
	if code != "403" || other != code || missing != absent.Replace(text) || strings.Contains(text, "secret") {
		w.t.Errorf("%s, %s: %s %s: %s %s\nof what is not there: %s %s", a.name, kind, subject, body, code, text, other, missing)
	}
	w.record(kind, strings.TrimSpace(subject+" "+body), a, code)
}

// narrowCommands change what is alice's, or learn of it by what they require or repeat.
func (w *world) narrowCommands() {
	for _, a := range w.attackers {
		mine := map[string]string{
			"keys": `{"subject":"agent.alice.set","body":{"key":"open.b","value":1}}`, "tasks": `{"subject":"task.ghost.complete","body":{}}`, "letters": `{"subject":"message.letters.notify","body":{"type":"x","body":1}}`,
			"viewer": `{"subject":"agent.viewer.set","body":{"key":"b","value":1,"strategy":"last_write_wins"}}`, "clock": `{"subject":"agent.clock.set","body":{"key":"b","value":1,"strategy":"last_write_wins"}}`,
		}[a.name]
		for subject, body := range map[string]string{
			"agent.alice.set": `{"key":"hidden.k","value":"stolen"}`, "agent.alice.delete": `{"key":"hidden.k"}`, "agent.alice.merge": `{"key":"hidden.k","value":{}}`, "agent.alice.append": `{"key":"hidden.k","items":[1]}`,
			"agent.alice.add": `{"key":"hidden.k","delta":1}`, "agent.alice.revert": `{"key":"hidden.k","to_version":1}`, "agent.alice.fork": `{"from":"alice"}`, "agent.alice.expire": `{}`, "agent.alice.erase": `{"reason":"x"}`,
			"config.alice.set": `{"key":"hidden.k","value":"stolen"}`, "message.alice.read": `{"up_to":1}`, "message.alice.direct": `{"to":"alice","body":1}`, "session.s-alice.put": `{"key":"k","value":1}`, "session.s-alice.close": `{}`,
			"reminder.r-alice.cancel": `{}`, "view.v-alice.remove": `{}`, "view.v-alice.define": `{"from":"state","agents":"viewer","columns":{"v":{"path":"/value","type":"text"}}}`,
			"task.t-alice.cancel": `{}`, "claim.c-alice.release": `{"owner":"alice","fence":1}`,
		} {
			w.denied(a, "command", "commands."+subject, body)
			if mine == "" || a.name == "tasks" {
				continue
			}
			for _, atomic := range []bool{true, false} {
				batch := fmt.Sprintf(`{"atomic":%t,"commands":[%s,{"subject":%q,"body":%s}]}`, atomic, mine, subject, body)
				_, text := w.ask(a, "commands.batch", batch, nil)
				if !strings.Contains(text, `"forbidden"`) && !strings.Contains(text, "batch.partitions") && !(atomic && strings.Contains(text, "batch.not_atomic")) {
					w.t.Errorf("%s: %s: %s", a.name, batch, text)
				}
				w.record("batch", batch, a, "403")
			}
		}
		for _, required := range []string{`"agent.alice","key":"hidden.k","version":1`, `"config.alice","key":"hidden.k","version":1`, `"task.t-alice","version":2`, `"session.s-alice","version":1`, `"view.v-alice","version":1`, `"view.v-alice","version":0`, `"claim.c-alice","owner":"alice"`} {
			if mine != "" && a.name != "tasks" {
				batch := `{"atomic":true,"commands":[` + mine + `],"require":[{"subject":REQUIRED}]}`
				w.same(a, "require", "commands.batch", strings.Replace(batch, "REQUIRED", required, 1), strings.Replace(batch, "REQUIRED", absent.Replace(required), 1), nil)
			}
		}
	}
	w.narrowIDs()
	w.narrowReminders()
	w.narrowQueue()
}

// narrowIDs repeat command ids of others.
func (w *world) narrowIDs() {
	for _, a := range w.attackers {
		if a.name != "tasks" {
			continue
		}
		known := nats.Header{nats.MsgIdHdr: {"next-1"}}
		code, text := w.ask(a, "commands.tasks.next", `{"agent_id":"tasks","kind":"none"}`, known)
		if code != "404" {
			w.t.Errorf("an id of another's claim: %s %s", code, text)
		}
		w.shows(a, "repeat an id", "commands.tasks.next with the id of another's claim", "", text)
		for _, verb := range []string{"complete", "progress"} {
			w.same(a, "repeat an id", "commands.task.t-alice."+verb, `{"agent_id":"tasks"}`, `{"agent_id":"tasks"}`, known)
			w.denied(a, "repeat an id", "commands.batch", `{"atomic":true,"commands":[{"subject":"task.t-alice.`+verb+`","id":"next-1","body":{"agent_id":"tasks"}}]}`)
		}
	}
}

// narrowReminders have the engine act later.
func (w *world) narrowReminders() {
	for _, a := range w.attackers {
		for _, sent := range []string{
			`{"subject":"agent.alice.set","body":{"key":"hidden.k","value":"stolen"}}`, `{"subject":"commands.agent.alice.delete","body":{"key":"hidden.k"}}`, `{"subject":"agent.clock.fork","body":{"from":"alice"}}`,
			`{"subject":"view.v-alice.remove"}`, `{"subject":"reminder.r-alice.cancel"}`, `{"subject":"task.t-alice.complete"}`, `{"subject":"message.alice.direct","body":{"to":"alice","body":1}}`,
			`{"subject":"reminder.clock2.set","body":{"every_ms":1000,"command":{"subject":"agent.alice.set","body":{"key":"hidden.k","value":"stolen"}}}}`,
		} {
			w.denied(a, "reminder", "commands.reminder.clock.set", `{"every_ms":1000,"command":`+sent+`}`)
		}
		for _, sent := range []string{`{"subject":"batch"}`, `{"subject":"tasks.next"}`, `{"subject":"reactor.feeds.react"}`, `{"subject":"agent.alice.hydrated"}`, `{"subject":"task.t-alice.expire","body":{"fence":2}}`, `{"subject":"reminder.r-alice.due"}`} {
			code, text := w.ask(a, "commands.reminder.clock.set", `{"every_ms":1000,"command":`+sent+`}`, nil)
			if code != "403" && code != "404" {
				w.t.Errorf("%s: a reminder of %s: %q %s", a.name, sent, code, text)
			}
			w.record("reminder", sent, a, code)
		}
		for _, shown := range []string{`"from":"state","agents":"alice"`, `"from":"state"`, `"from":"state","agents":"alice","keys":"hidden.*"`, `"from":"task","agents":"alice"`, `"from":"config","agents":"alice"`, `"from":"reminder"`, `"from":"claim"`, `"from":"session"`} {
			code, text := w.ask(a, "commands.view.viewer-v.define", `{`+shown+`,"columns":{"v":{"path":"/value","type":"text"}}}`, nil)
			if code != "403" {
				w.t.Errorf("%s: a view of %s: %q %s", a.name, shown, code, text)
			}
			w.record("view", shown, a, code)
		}
	}
}

// narrowQueue enqueues what only the engine does, and what is refused when it is executed.
func (w *world) narrowQueue() {
	for _, a := range w.attackers {
		outcomes, err := a.SubscribeSync("outcomes.>")
		harness.Must(w.t, err)
		harness.Must(w.t, a.Flush())
		for subject, body := range map[string]string{
			"reactor.feeds.react": `{"stream":"EVENTS","revision":1}`, "reactor.reminder.react": `{"stream":"EVENTS","revision":1}`, "reactor.deadline.react": `{"stream":"EVENTS","revision":99999}`,
			"agent.alice.hydrated": `{"keys":1}`, "task.t-alice.expire": `{"fence":2}`, "reminder.r-alice.due": `{}`, "agent.alice.set": `{"key":"hidden.k","value":"stolen"}`,
		} {
			m, err := a.Request("enqueue."+subject, []byte(body), harness.Patience)
			if code, text := status(m, err); code != "" {
				w.t.Errorf("%s: enqueue.%s: %s %s", a.name, subject, code, text)
				continue
			}
			outcome, err := outcomes.NextMsg(harness.Patience)
			code, text := status(outcome, err)
			if code != "404" && code != "403" || strings.Contains(text, "event.") {
				w.t.Errorf("%s: enqueue.%s %s: %q %s", a.name, subject, body, code, text)
			}
			w.record("enqueue", "enqueue."+subject+" "+body, a, code)
		}
		_ = outcomes.Unsubscribe() // the connection may be closed
	}
}
