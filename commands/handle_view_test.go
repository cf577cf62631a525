package commands_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

func viewOf(from string) string {
	return fmt.Sprintf(`{"from":%q,"columns":{"a":{"path":"/a","type":"text"},"b":{"path":"/b","type":"text"}}}`, from)
}

func (e *engine) views(ctx context.Context, id, name, verb, body string) (commands.Receipt, error) {
	return e.Send(ctx, commands.Request{Aggregate: "view", ID: name, Verb: verb, CommandID: id, Body: []byte(body)})
}

// A command on a view that is sent again has its first receipt, also in another spelling and
// after the view has changed; another body is refused. Versions go on after a removal.
func TestAViewsCommandAgain(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		define, remove, other := id(), id(), id()
		must := func(command, verb, body string, version uint64) commands.Receipt {
			t.Helper()
			r, err := e.views(t.Context(), command, "v", verb, body)
			if err != nil || r.Outcome != domain.Accepted || r.Replayed || r.Version != version {
				t.Fatalf("%s %s: %+v, %v", verb, body, r, err)
			}
			r.Replayed = true
			return r
		}
		again := func(command, verb, body string, first commands.Receipt) {
			t.Helper()
			if r, err := e.views(t.Context(), command, "v", verb, body); err != nil || r != first {
				t.Errorf("%s again: %+v, %v\nwant %+v", verb, r, err, first)
			}
		}
		refused := func(body, code string) {
			t.Helper()
			if _, err := e.views(t.Context(), "", "v", "define", body); !hasCode(err, code) {
				t.Errorf("%s: %v, want %s", body, err, code)
			}
		}
		const spelled = `{ "columns":{"b":{"type":"text","path":"/b"},"a":{"type":"text","path":"/\u0061"}},"into":["sql"],"agents":"*","name":"v","from":"state"}`
		first := must(define, "define", viewOf("state"), 1)
		again(define, "define", spelled, first)
		if r, err := e.views(t.Context(), id(), "v", "define", spelled); err != nil || r.Outcome != domain.Unchanged || r.Version != 1 {
			t.Errorf("defined in another spelling: %+v, %v", r, err)
		}
		refused(viewOf("task"), "view.exists")
		second := must(other, "define", viewOf("task")[:len(viewOf("task"))-1]+`,"expected_version":1}`, 2)
		refused(viewOf("claim")[:len(viewOf("claim"))-1]+`,"expected_version":1}`, "state.conflict")
		removed := must(remove, "remove", ``, 3)
		again(define, "define", viewOf("state"), first)
		again(other, "define", viewOf("task")[:len(viewOf("task"))-1]+`,"expected_version":1}`, second)
		again(remove, "remove", `{}`, removed)
		if _, err := e.views(t.Context(), define, "v", "define", viewOf("claim")); !hasCode(err, "command.id_reused") {
			t.Errorf("another body: %v", err)
		}
		if _, err := e.views(t.Context(), define, "v", "remove", ``); !hasCode(err, "command.id_reused") {
			t.Errorf("another verb: %v", err)
		}
		if r, err := e.views(t.Context(), id(), "v", "remove", ``); err != nil || r.Outcome != domain.Unchanged {
			t.Errorf("removed twice: %+v, %v", r, err)
		}
		must(id(), "define", viewOf("claim"), 4)
		var types []string
		for _, rec := range e.stored(events.View("v")) {
			types = append(types, rec.Type)
		}
		if fmt.Sprint(types) != "[view.defined view.defined view.removed view.defined]" {
			t.Errorf("%v", types)
		}
	})
}

// Two engines define one view in different ways: one definition stands.
func TestOneDefinition(t *testing.T) {
	journal := journaltest.History(t, 1)
	engines := []*engine{newEngine(t, journal, commands.Config{}), newEngine(t, journal, commands.Config{})}
	var open sync.WaitGroup
	won := make(chan string, 12)
	for i := range 12 {
		open.Go(func() {
			from := []string{"state", "task", "session", "config", "reminder", "claim"}[i/2]
			switch r, err := engines[i%2].views(t.Context(), "", "v", "define", viewOf(from)); {
			case err == nil && r.Version == 1:
				won <- from
			case !hasCode(err, "view.exists"):
				t.Errorf("%s: %+v, %v", from, r, err)
			}
		})
	}
	open.Wait()
	close(won)
	first := <-won
	for from := range won {
		if from != first {
			t.Errorf("defined from %s and from %s", first, from)
		}
	}
}

// Who defines a view needs the right to define it, and to read all that it may show. What is
// refused shows nothing of the view.
func TestPermitViews(t *testing.T) {
	journal := journaltest.History(t, 1)
	e := newEngine(t, journal, commands.Config{Past: journal, Permit: permit(t, map[string][]string{
		"bob":  {"command view:bob-*", "query agent:bob-*", "query agent:shop-*.order.*", "query task:* when holder", "query claim:c-*", "query message:bob-*", "query message:shop-* inbox"},
		"anna": {"query *:*"},
		"root": {"command *:*", "query *:*"},
	})})
	as := func(who, name, verb, body string) error {
		_, err := e.views(identity.With(t.Context(), &identity.Caller{Principal: who}), "", name, verb, body)
		return err
	}
	harness.Must(t, as("root", "alices", "define", viewOf("state")))
	define := func(from, agents, keys string) string {
		body := fmt.Sprintf(`{"from":%q,"columns":{"a":{"path":"/a","type":"text"}}`, from)
		if agents != "" {
			body += fmt.Sprintf(`,"agents":%q`, agents)
		}
		if keys != "" {
			body += fmt.Sprintf(`,"keys":%q`, keys)
		}
		return body + "}"
	}
	for i, c := range []struct {
		from, agents, keys, missing string
	}{
		{"state", "bob-*", "", ""}, {"state", "bob-1", "k", ""}, {"state", "bob-a*", "", ""}, {"state", "shop-*", "order.*", ""}, {"state", "shop-1", "order.x", ""},
		{"state", "", "", "query agent:* get"}, {"state", "*", "", "query agent:* get"}, {"state", "*ob-1", "", "query agent:*ob-1 get"}, {"state", "shop-*", "", "query agent:shop-* get"},
		{"state", "shop-*", "*", "query agent:shop-* get"}, {"state", "", "order.*", "query agent:* get"}, {"state", "bob*", "", "query agent:bob* get"},
		{"config", "bob-*", "", "query config:bob-* get"}, {"task", "bob-*", "", ""}, {"task", "", "", "query task:* get"}, {"task", "alice", "", "query task:* get"},
		{"claim", "", "c-*", ""}, {"claim", "", "c*", "query claim:c* get"}, {"session", "bob-*", "", "query session:* get"}, {"reminder", "bob-*", "", "query reminder:* get"},
		{"message", "bob-*", "", ""}, {"message", "bob-1", "m*", ""}, {"message", "shop-*", "", "query message:shop-* history"}, {"message", "", "m*", "query message:* history"},
	} {
		err := as("bob", fmt.Sprint("bob-", i), "define", define(c.from, c.agents, c.keys))
		if c.missing == "" && err != nil || c.missing != "" && !forbids(err, c.missing) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, name := range []string{"alices", "nobodys"} {
		for _, verb := range []string{"define", "remove"} {
			for _, who := range []string{"bob", "anna"} {
				if err := as(who, name, verb, `{`); !forbids(err, "command view:"+name+" "+verb) {
					t.Errorf("%s may %s %s: %v", who, verb, name, err)
				}
			}
		}
	}
	harness.Must(t, as("bob", "bob-0", "remove", ""))
	harness.Must(t, as("root", "alices", "remove", ""))
}

// forbids reports whether err is a 403 that names the missing grant.
func forbids(err error, missing string) bool {
	var refused *domain.Error
	return errors.As(err, &refused) && refused.Code == "forbidden" && refused.Message == missing
}
