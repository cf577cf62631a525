package commands_test

import (
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
)

// A command that marks messages as read has its first receipt when it is sent again, and
// changes nothing where they are read already.
func TestMessagesAreReadOnce(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		read := func(command, body string) (commands.Receipt, error) {
			return e.Send(t.Context(), commands.Request{Aggregate: "message", ID: "a1", Verb: "read", CommandID: command, Body: []byte(body)})
		}
		must := func(command, body string, outcome domain.Outcome, version uint64) commands.Receipt {
			t.Helper()
			r, err := read(command, body)
			if err != nil || r.Outcome != outcome || r.Version != version || r.Replayed {
				t.Fatalf("%s: %+v, %v", body, r, err)
			}
			return r
		}
		one, two := id(), id()
		first := must(one, `{"up_to":100}`, domain.Accepted, 1)
		second := must(two, `{"marks":[300,200,300],"up_to":50}`, domain.Accepted, 2)
		must(id(), `{"up_to":100,"marks":[200]}`, domain.Unchanged, 2)
		must(id(), `{"up_to":400}`, domain.Accepted, 3)
		for command, again := range map[string]struct {
			body  string
			first commands.Receipt
		}{one: {`{ "up_to": 100 }`, first}, two: {`{"up_to":50,"marks":[200,300]}`, second}} {
			again.first.Replayed = true
			if r, err := read(command, again.body); err != nil || r != again.first {
				t.Errorf("again: %+v, %v\nwant %+v", r, err, again.first)
			}
		}
		if _, err := read(one, `{"up_to":101}`); !hasCode(err, "command.id_reused") {
			t.Errorf("another body: %v", err)
		}
	})
}
