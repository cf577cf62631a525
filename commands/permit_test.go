package commands_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// permit decides as an engine does about principals with these grants; the agents of a
// principal are <name>-*.
func permit(t *testing.T, of map[string][]string) commands.Permit {
	sets := map[string]*grants.Set{}
	for name, texts := range of {
		var all []grants.Grant
		for _, text := range texts {
			g, err := grants.Parse(text)
			harness.Must(t, err)
			all = append(all, g)
		}
		sets[name] = grants.NewSet(name+"-*", all...)
	}
	return func(ctx context.Context, a grants.Action) (commands.Condition, error) {
		c := identity.From(ctx)
		if c == nil {
			return nil, nil
		}
		verdict, missing := sets[c.Principal].Decide(a)
		refused := domain.Errorf(domain.Forbidden, "forbidden", "%s", missing)
		switch verdict {
		case grants.No:
			return nil, refused
		case grants.IfHolder:
			return func(exists bool, agents ...string) error {
				for _, agent := range agents {
					exists = exists && sets[c.Principal].Holds(agent)
				}
				if !exists {
					return refused
				}
				return nil
			}, nil
		}
		return nil, nil
	}
}

// TestPermit: what the sender may not do is refused before its body is read, whether the
// thing exists or not, alone and in a batch; what it does carries its name.
func TestPermit(t *testing.T) {
	journal := journaltest.History(t, 1)
	e := newEngine(t, journal, commands.Config{Past: journal, Permit: permit(t, map[string][]string{
		"bob": {"command agent:bob-*", "command agent:team.mood set", "command agent:team.n add,append,revert", "query agent:shared", "command message:bob-* direct",
			"command task:* start,progress,complete,create when holder", "command claim:* acquire,renew when holder", "command claim:open release"},
	})})
	as := func(who, subject, body string) error {
		aggregate, id, verb, err := commands.ParseSubject(subject)
		harness.Must(t, err)
		ctx := t.Context()
		if who != "" {
			ctx = identity.With(ctx, &identity.Caller{Principal: who})
		}
		_, err = e.Send(ctx, commands.Request{Aggregate: aggregate, ID: id, Verb: verb, Body: []byte(body)})
		return err
	}
	for _, subject := range []string{"agent.alice.set", "agent.shared.set", "agent.secret.set"} {
		harness.Must(t, as("", subject, `{"key":"k","value":1}`))
	}
	for id, body := range map[string]string{"alices": `{"kind":"k","agent_id":"alice"}`, "nobodys": `{"kind":"k"}`, "bobs": `{"kind":"k","agent_id":"bob-1"}`} {
		harness.Must(t, as("", "task."+id+".create", body))
	}
	const ok = ""
	for _, c := range []struct{ who, subject, body, missing string }{
		{"bob", "agent.bob-1.set", `{"key":"k","value":1}`, ok},
		{"bob", "agent.alice.set", `{"key":"k","value":1}`, "command agent:alice set"},
		{"bob", "agent.alice.set", `nonsense`, "command agent:alice set"},
		{"bob", "agent.nobody.set", `{"key":"k","value":1}`, "command agent:nobody set"},
		{"bob", "agent.alice.expire", ``, "command agent:alice expire"},
		{"bob", "config.bob-1.set", `{"key":"k","value":1}`, "command config:bob-1 set"},
		{"bob", "agent.team.set", `{"key":"mood","value":1}`, ok},
		{"bob", "agent.team.set", `{"key":"wish","value":1}`, "command agent:team set"},
		{"bob", "agent.team.add", `{"key":"n","delta":1}`, ok},
		{"bob", "agent.team.add", `{"key":"mood","delta":1}`, "command agent:team add"},
		{"bob", "agent.team.append", `{"key":"n.list","items":[]}`, "command agent:team append"},
		{"bob", "agent.team.merge", `{"key":"n","value":{}}`, "command agent:team merge"},
		{"bob", "agent.team.set", `{"key":"n","value":1}`, "command agent:team set"},
		{"bob", "agent.team.expire", ``, "command agent:team expire"},
		{"bob", "agent.team.revert", `{"key":"n","to_version":1}`, ok},
		{"bob", "agent.team.revert", `{"key":"mood","to_version":1}`, "command agent:team revert"},
		{"bob", "agent.team.revert", `{"to_revision":0}`, "command agent:team revert"},
		{"bob", "agent.bob-1.revert", `{"to_revision":0}`, ok},
		{"bob", "agent.bob-2.fork", `{"from":"secret"}`, "query agent:secret entries"},
		{"bob", "agent.bob-2.fork", `{"from":"nobody"}`, "query agent:nobody entries"},
		{"bob", "agent.bob-2.fork", `{"from":"shared"}`, ok},
		{"bob", "message.alice.direct", `{"to":"bob-1","body":1}`, "command message:alice direct"},
		{"bob", "task.alices.start", `{"agent_id":"bob-1"}`, "command task:alices start"},
		{"bob", "task.missing.start", `{"agent_id":"bob-1"}`, "command task:missing start"},
		{"bob", "task.nobodys.start", `{"agent_id":"alice"}`, "command task:nobodys start"},
		{"bob", "task.nobodys.start", `{"agent_id":"bob-1"}`, ok},
		{"bob", "task.bobs.start", `{"agent_id":"bob-7"}`, ok},
		{"bob", "task.bobs.complete", `{}`, ok},
		{"bob", "task.new.create", `{"kind":"k","agent_id":"alice"}`, "command task:new create"},
		{"bob", "task.new.create", `{"kind":"k","agent_id":"bob-1"}`, ok},
		{"bob", "task.new.cancel", `{}`, "command task:new cancel"},
		{"bob", "claim.c1.acquire", `{"owner":"bob-1"}`, ok},
		{"bob", "claim.c2.acquire", `{"owner":"alice"}`, "command claim:c2 acquire"},
		{"bob", "claim.c1.renew", `{"owner":"alice","fence":1}`, "command claim:c1 renew"},
		{"bob", "claim.c1.renew", `{"owner":"bob-1","fence":1,"lease_ms":9}`, ok},
		{"bob", "claim.c1.release", `{"owner":"bob-1","fence":1}`, "command claim:c1 release"},
		{"", "claim.open.acquire", `{"owner":"alice"}`, ok},
		{"bob", "claim.open.release", `{"owner":"alice","fence":1}`, ok},
		{"eve", "claim.c1.acquire", `{"owner":"eve-1"}`, "command claim:c1 acquire"},
		{"eve", "agent.eve-1.set", `{"key":"k","value":1}`, "command agent:eve-1 set"},
	} {
		err := as(c.who, c.subject, c.body)
		var known *domain.Error
		if c.missing == ok {
			if err != nil {
				t.Errorf("%s, %s %s: %v", c.who, c.subject, c.body, err)
			}
		} else if !errors.As(err, &known) || known.Kind != domain.Forbidden || known.Message != c.missing {
			t.Errorf("%s, %s %s: %v, want 403 %s", c.who, c.subject, c.body, err, c.missing)
		}
	}

	bob := identity.With(t.Context(), &identity.Caller{Principal: "bob"})
	type done struct {
		results []commands.Result
		err     error
	}
	for _, atomic := range []bool{true, false} {
		body, _ := json.Marshal(map[string]any{"atomic": atomic, "commands": []any{
			map[string]any{"subject": "agent.bob-1.set", "body": map[string]any{"key": "batch", "value": 1}},
			map[string]any{"subject": "agent.alice.set", "body": map[string]any{"key": "batch", "value": 1}},
		}})
		answers := make(chan done, 1)
		e.HandleBatch(bob, "", body, func(s string) string { return s }, func(r []commands.Result, err error) { answers <- done{r, err} })
		got := harness.Receive(t, "the answer", answers)
		err := got.err
		if !atomic {
			if err != nil || len(got.results) != 2 || got.results[0].Err != nil {
				t.Fatalf("%+v", got)
			}
			err = got.results[1].Err
		}
		var known *domain.Error
		if !errors.As(err, &known) || known.Kind != domain.Forbidden || atomic && known.Details["index"] != 1 {
			t.Errorf("atomic %t: %v", atomic, err)
		}
	}
	if n := len(commandstest.Stored(t, journal, events.StateEntry("bob-1", "batch"))); n != 1 {
		t.Errorf("a refused atomic batch stored %d events", n-1)
	}

	for name, actor := range map[events.AggregateName]string{
		events.StateEntry("bob-1", "k"): "bob", events.StateEntry("bob-2", "k"): "bob", events.StateEntry("alice", "k"): "", events.Task("bobs"): "",
	} {
		got := commandstest.Stored(t, journal, name)
		if len(got) == 0 || got[0].Actor != actor || actor == "" && strings.Contains(string(got[0].Encode()), "actor") {
			t.Errorf("%s: %d events, the first by %q, want %q", name, len(got), got[0].Actor, actor)
		}
		digest := ""
		for i := range got {
			want, err := events.Chain(digest, &got[i].Event)
			if err != nil || got[i].Digest != want {
				t.Errorf("%s: event %d is not in the chain, %v", name, i+1, err)
			}
			digest = want
		}
	}
	if got := commandstest.Stored(t, journal, events.Task("bobs")); got[len(got)-1].Actor != "bob" {
		t.Errorf("the last event is by %q", got[len(got)-1].Actor)
	}
}

// TestWhatMayNotBeReadIsNotLearned: neither by a command id that others have used, nor by a requirement.
func TestWhatMayNotBeReadIsNotLearned(t *testing.T) {
	e := newEngine(t, journaltest.History(t, 1), commands.Config{Permit: permit(t, map[string][]string{
		"bob": {"command task:* claim,complete when holder", "query view:* get,list", "command agent:bob-1"},
	})})
	for _, c := range []struct{ aggregate, verb, id, body string }{
		{"task", "create", "", `{"kind":"k","agent_id":"alice"}`}, {"task", "claim", "c1", `{"agent_id":"alice"}`},
		{"view", "define", "", `{"from":"state","agents":"alice","columns":{"v":{"path":"/value","type":"text"}}}`},
	} {
		_, err := e.Send(t.Context(), commands.Request{Aggregate: c.aggregate, ID: "alices", Verb: c.verb, CommandID: c.id, Body: []byte(c.body)})
		harness.Must(t, err)
	}
	bob := identity.With(t.Context(), &identity.Caller{Principal: "bob"})
	for _, body := range []string{
		`{"atomic":true,"commands":[{"subject":"task.ID.complete","id":"c1","body":{}}]}`, `{"atomic":true,"commands":[{"subject":"task.ID.claim","id":"c1","body":{"agent_id":"bob-1"}}]}`,
		`{"atomic":true,"commands":[{"subject":"agent.bob-1.set","body":{"key":"k","value":1}}],"require":[{"subject":"view.ID","version":1}]}`,
		`{"atomic":true,"commands":[{"subject":"agent.bob-1.set","body":{"key":"k","value":1}}],"require":[{"subject":"view.ID","version":0}]}`,
	} {
		var refusals []string
		for _, id := range []string{"alices", "nobodys"} {
			answers := make(chan error, 1)
			e.HandleBatch(bob, "", []byte(strings.ReplaceAll(body, "ID", id)), func(s string) string { return s }, func(_ []commands.Result, err error) { answers <- err })
			err := harness.Receive(t, "the answer", answers)
			var known *domain.Error
			if !errors.As(err, &known) || known.Kind != domain.Forbidden {
				t.Errorf("%s of %s: %v", body, id, err)
			}
			refusals = append(refusals, strings.ReplaceAll(fmt.Sprint(err), id, "ID"))
		}
		if refusals[0] != refusals[1] {
			t.Errorf("%s: %q", body, refusals)
		}
	}
}
