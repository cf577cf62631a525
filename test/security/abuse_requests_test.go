package security

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/readmodel/query"
)

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
