package readmodel_test

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// TestConcerns: which commands have to do with the erased agent a1, its task t1, its session s1,
// its reminder r1 and its claim c1.
func TestConcerns(t *testing.T) {
	erased := readmodel.ErasedWith("a1", map[string][]string{"task": {"t1"}, "session": {"s1"}, "reminder": {"r1"}, "claim": {"c1"}})
	for _, c := range []struct {
		subject, body string
		want          bool
	}{
		// The subject names it.
		{"agent.a1.set", `{}`, true},
		{"agent.a1.set", ``, true},
		{"commands.agent.a1.set", `v`, true},
		{"acme.commands.config.a1.set", `v`, true},
		{"acme.message.a1.direct", `v`, true},
		{"agent.a1", `v`, true},
		{"agent.a1.order.city.set", `{}`, true},
		{"agents.a1.set", `{}`, true},
		{"a1", `{}`, true},
		{"task.t1.progress", `{"note":"x"}`, true},
		{"task.t1", `{}`, true},
		{"session.s1.put", `{}`, true},
		{"claim.c1.renew", `{}`, true},
		{"reminder.r1.set", `{}`, true},

		// It names another one.
		{"agent.b.set", `{"key":"k","value":1}`, false},
		{"agent.a1b.set", `{}`, false},
		{"agent.b-a1.set", `{}`, false},
		{"agent.A1.set", `{}`, false},
		{"agent.message.a1", `{}`, false}, // the agent message, an unknown verb
		{"task.a1.create", `{"kind":"a1"}`, false},
		{"task.s1.create", `{}`, false},
		{"session.t1.put", `{}`, false},
		{"agent.t1.set", `{}`, false},
		{"view.a1.define", `{"from":"state"}`, false},
		{"acme.commands.batch", `{"commands":[]}`, false},

		// The body names it.
		{"task.t9.create", `{"kind":"k","agent_id":"a1","payload":"x"}`, true},
		{"task.t9.create", ` {"kind":"k","agent_id":"\u0061\u0031"}`, true},
		{"task.t9.create", `{"agent_id":"b","agent_id":"a1"}`, true},
		{"task.t9.create", `{"agentId":"a1"}`, true},
		{"task.t9.create", `{"agent_id":["a1"]}`, true},
		{"task.t9.complete", `{"agent_id":"a1","result":1,"fence":3}`, true},
		{"tasks.next", `{"agent_id":"a1"}`, true},
		{"session.s9.open", `{"owner":"a1"}`, true},
		{"claim.c9.acquire", `{"owner":"a1","data":"x"}`, true},
		{"message.b.direct", `{"to":"a1","body":"x"}`, true},
		{"message.b.send", `{"to":"a1"}`, true},
		{"agent.b.fork", `{"from":"a1"}`, true},
		{"reminder.r9.set", `{"at":"x","agent_id":"a1","command":{"subject":"agent.b.set"}}`, true},
		{"reminder.r9.set", `{"owner":"a1"}`, true},

		// A command in the body does.
		{"reminder.r9.set", `{"command":{"subject":"agent.a1.set","body":{"key":"k"}}}`, true},
		{"reminder.r9.set", `{"command":{"subject":"commands.task.t1.cancel"}}`, true},
		{"reminder.r9.set", `{"command":{"subject":"task.t9.create","body":{"agent_id":"a1"}}}`, true},
		{"reminder.r9.set", `{"command":{"subject":"reminder.r8.set","body":{"command":{"subject":"agent.a1.set"}}}}`, true},
		{"reminder.r9.set", `{"command":"agent.a1.set"}`, true},
		{"batch", `{"atomic":true,"commands":[{"subject":"agent.b.set","body":{}},{"subject":"agent.a1.set","body":{}}]}`, true},
		{"commands.batch", `{"commands":[{"body":{"owner":"a1"},"subject":"session.s9.open"}]}`, true},
		{"batch", `{"commands":[{"subject":"session.s1.put","body":{}}]}`, true},
		{"batch", `{"commands":[{"subject":"batch","body":{"commands":[{"subject":"agent.a1.set"}]}}]}`, true},
		{"batch", `{"commands":[{"subject":"task.t9.create","agent_id":"a1"}]}`, true},
		{"batch", `{"commands":{"subject":"agent.a1.set"}}`, true},
		{"batch", `{"commands":["agent.a1.set"]}`, true},
		{"batch", strings.Repeat(`{"commands":[{"body":`, 100) + `{"owner":"a1"}` + strings.Repeat(`}]}`, 100), true},

		{"batch", `{"commands":` + strings.Repeat("[", 9000) + `{"owner":"a1"}` + strings.Repeat("]", 9000) + `}`, true},

		// Only a value or a name does.
		{"agent.b.set", `{"key":"x.a1.y","value":"see .a1. and a1"}`, false},
		{"agent.b.set", `{"key":"k","value":{"agent_id":"a1","to":"a1","command":{"subject":"agent.a1.set"}}}`, false},
		{"task.t9.create", `{"kind":"a1","agent_id":"b","payload":{"owner":"a1"}}`, false},
		{"task.t9.complete", `{"result":"commands.agent.a1.set"}`, false},
		{"session.s9.put", `{"key":"a1","value":{"subject":"agent.a1.set"}}`, false},
		{"message.b.direct", `{"to":"c","body":{"to":"a1","subject":"agent.a1.set"}}`, false},
		{"message.b.notify", `{"type":"a1","body":"a1"}`, false},
		{"agent.b.fork", `{"from":"a1b","reason":"like .a1."}`, false},
		{"reminder.r9.set", `{"command":{"subject":"agent.b.set","body":{"key":"k","value":"commands.agent.a1.set"}}}`, false},
		{"batch", `{"commands":[{"subject":"agent.b.set","id":"a1","body":{"key":"k","value":".a1."}}]}`, false},
		{"batch", `{"commands":[{"subject":"message.b.direct","body":{"to":"c","body":{"commands":[{"subject":"agent.a1.set"}]}}}]}`, false},

		// It is no JSON object.
		{"agent.b.set", `{"key":"k","value":"a1"`, true},
		{"agent.b.set", `key=k&agent=a1`, true},
		{"agent.b.set", `"a1"`, true},
		{"agent.b.set", "\xff a1 \x00", true},
		{"agent.b.set", `{"key":"a1"} x`, true},
		{"agent.b.set", `a1b a1-c éa1 x_a1`, true}, // no id has this letter
		{"agent.b.set", `a1b a1-c x_a1 A1 t1`, false},
		{"agent.b.set", ``, false},
		{"agent.b.set", `null`, false},
	} {
		if got := erased.Concerns(c.subject, []byte(c.body)); got != c.want {
			t.Errorf("%s %.200s: %v", c.subject, c.body, got)
		}
	}
}
