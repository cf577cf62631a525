package commands_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
)

// TestADefaultThatIsGivenIsAnotherBody: bodies are compared as JSON. One that comes to the same,
// as with a member that has its default, is another body; another order of members is not.
func TestADefaultThatIsGivenIsAnotherBody(t *testing.T) {
	e := one(t)
	send := func(subject [3]string, id, body string) (commands.Receipt, error) {
		return e.Send(t.Context(), commands.Request{Aggregate: subject[0], ID: subject[1], Verb: subject[2], CommandID: id, Body: []byte(body), Internal: subject[2] == "next"})
	}
	for i := range 2 {
		e.mustOn([]string{"t1", "t2"}[i], "create", "", `{"kind":"k"}`)
	}
	for _, c := range []struct {
		subject           [3]string
		body, same, other string
	}{
		{[3]string{"task", "t1", "claim"}, `{"agent_id":"a"}`, ` { "agent_id" : "\u0061" }`, `{"agent_id":"a","lease_ms":30000}`},
		{[3]string{"task", "t2", "next"}, `{"agent_id":"a","kind":"k","lease_ms":30000}`, `{"lease_ms":30000,"kind":"k","agent_id":"a","wait_ms":7}`, `{"agent_id":"a","kind":"k"}`},
		{[3]string{"task", "t3", "create"}, `{"kind":"k","retry":{"max_attempts":2}}`, `{"retry":{"max_attempts":2},"kind":"k"}`, `{"kind":"k","retry":{"max_attempts":2,"backoff_ms":0}}`},
		{[3]string{"task", "t1", "progress"}, `{"percent":50,"note":"n"}`, `{"note":"n","percent":50}`, `{"percent":50.0,"note":"n"}`},
		{[3]string{"reminder", "r1", "set"}, `{"cron":"0 0 * * *","command":{"subject":"agent.a1.set","body":{"key":"k","value":1}}}`,
			`{"command":{"body":{"value":1,"key":"k"},"subject":"agent.a1.set"},"cron":"0 0 * * *"}`,
			`{"cron":"0 0 * * *","timezone":"UTC","command":{"subject":"agent.a1.set","body":{"key":"k","value":1}}}`},
		{[3]string{"reminder", "r2", "set"}, `{"at":"2999-01-01T00:00:00Z","command":{"subject":"agent.a1.flush"}}`,
			`{"command":{"subject":"agent.a1.flush"},"at":"2999-01-01T00:00:00Z"}`, `{"at":"2999-01-01T00:00:00Z","command":{"subject":"commands.agent.a1.flush","body":{}}}`},
	} {
		id := youngID()
		first, err := send(c.subject, id, c.body)
		if err != nil || first.Outcome != domain.Accepted {
			t.Fatalf("%s %s: %+v, %v", c.subject, c.body, first, err)
		}
		first.Replayed = true
		for range 2 {
			if r, err := send(c.subject, id, c.same); err != nil || r != first {
				t.Errorf("%s again, as %s: %+v, %v", c.subject, c.same, r, err)
			}
			_, err = send(c.subject, id, c.other)
			e.wantCode(err, "command.id_reused")
		}
	}
}
