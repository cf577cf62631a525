package grants_test

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/internal/grants"
)

func TestRoles(t *testing.T) {
	set := func(role, agents string) *grants.Set {
		all, err := grants.Of(role, agents)
		if err != nil {
			t.Fatal(err)
		}
		return grants.NewSet(agents, all...)
	}
	agent, worker, reader := set("agent", "alice-*"), set("worker", "alice-*"), set("reader", "alice-*")
	everything, operator, admin := set("reader", "*"), set("operator", "*"), set("admin", "*")
	for _, c := range []struct {
		text string // "command agent.alice-1.set k"
		// agent, worker, reader, reader of all, operator, admin: y, n, h (if holder)
		want string
	}{
		{"command agent.alice-1.set k", "ynnnny"},
		{"command agent.bob.set k", "nnnnny"},
		{"command agent.alice-1.fork", "ynnnny"},
		{"command agent.alice-1.erase", "nnnnny"},
		{"command agent.alice-1.heartbeat", "yynnny"},
		{"command agent.bob.expire", "nnnnyy"},
		{"command config.alice-1.set k", "ynnnny"},
		{"command message.alice-1.direct", "ynnnny"},
		{"command message.bob.direct", "nnnnny"},
		{"command message.alice-1.read", "ynnnny"},
		{"command message.bob.read", "nnnnny"},
		{"command session.alice-1.open", "ynnnny"},
		{"command task.t1.create", "nnnnny"},
		{"command task.t1.start", "hhnnny"},
		{"command task.t1.complete", "hhnnny"},
		{"command task.t1.cancel", "nnnnyy"},
		{"query agent.alice-1.get k", "ynyyyy"},
		{"query agent.bob.get k", "nnnyyy"},
		{"query agent.alice.get k", "nnnyyy"},
		{"query message.bob.inbox", "nnnyyy"},
		{"query message.bob.history", "nnnyyy"},
		{"query message.alice-1.inbox", "ynyyyy"},
		{"query task.t1.get", "hhhyyy"},
		{"query session.bob.get", "nnnyyy"},
		{"command claim.c1.acquire", "hhnnny"},
		{"command claim.c1.release", "hhnnyy"},
		{"query claim.c1.get", "hhhyyy"},
		{"query claim.c1.history", "hhhyyy"},
		{"command reminder.alice-1.set", "ynnnny"},
		{"command reminder.alice-1.cancel", "ynnnyy"},
		{"command reminder.bob.set", "nnnnny"},
		{"query reminder.alice-1.history", "ynyyyy"},
		{"query reminder.bob.get", "nnnyyy"},
		{"command view.v.define", "nnnnyy"},
		{"command view.v.remove", "nnnnyy"},
		{"query view.v.get", "ynyyyy"},
		{"query view.v.definition", "nnnyyy"},
		{"query view.v.history", "nnnyyy"},
		{"admin .x.rebuild", "nnnnyy"},
		{"admin .x.auth", "nnnnny"},
	} {
		kind, rest, _ := strings.Cut(c.text, " ")
		path, key, _ := strings.Cut(rest, " ")
		part := strings.Split(path, ".")
		a := grants.Action{Kind: grants.Kind(kind), Aggregate: part[0], ID: part[1], Verb: part[2], Key: key}
		got := ""
		for _, s := range []*grants.Set{agent, worker, reader, everything, operator, admin} {
			v, _ := s.Decide(a)
			got += []string{"n", "h", "y"}[v]
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
	if !agent.Holds("alice-1") || !agent.Holds("") || agent.Holds("bob") || !agent.Is("alice-1") || agent.Is("") {
		t.Error("the agents of a role")
	}
	if _, err := grants.Of("king", "*"); err == nil {
		t.Error("an unknown role")
	}
	if _, err := grants.Of("agent", "a.b"); err == nil {
		t.Error("a pattern of two tokens")
	}
}
