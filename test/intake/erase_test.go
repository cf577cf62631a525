package intake_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
)

var erased = readmodel.ErasedWith("a1", map[string][]string{"task": {"t1"}})

// TestEraseDeadLetters: dead letters that concern an erased agent or its task are removed,
// those of others stay.
func TestEraseDeadLetters(t *testing.T) {
	r := newRig(t, 1)
	r.prepare()
	var want []string
	for _, l := range []struct {
		subject, body string
		goes          bool
	}{
		{"enqueue.agent.a1.set", `{"valu":1}`, true},
		{"enqueue.task.t9.create", `{"agent_id":"a1","paylod":1}`, true},
		{"enqueue.batch", `{"commands":[{"subject":"task.t1.cancel"}]}`, true},
		{"enqueue.agent.b.set", `{"key":"k","valu":".a1."}`, false},
		{"enqueue.batch", `{"commands":[{"subject":"agent.b.set","body":{"key":"k","value":".a1."}}]}`, false},
		{"enqueue.reminder.r.set", `{"command":{"subject":"agent.b.set","body":{"key":".a1."}}}`, false},
		{"tasks.started.t1.a1", `{}`, true},
		{"tasks.created.t1", `{}`, true},
		{"tasks.failed.t1.reason", `{}`, true},
		{"tasks.started.t2.t1", `{}`, false},
		{"tasks.created.t2", `{}`, false},
		{"events.agent.a1.lifecycle", `{}`, false}, // the journal's own form: it has no content
	} {
		_, err := r.js.PublishMsg(t.Context(), &nats.Msg{Subject: "deadletters.commands", Data: []byte(l.body), Header: nats.Header{"Tidemark-Subject": {l.subject}}})
		harness.Must(t, err)
		if !l.goes {
			want = append(want, l.subject+" "+l.body)
		}
	}
	harness.Must(t, r.deadLetters().EraseAgent(t.Context(), erased))
	all, err := r.deadLetters().All(t.Context())
	harness.Must(t, err)
	var left []string
	for _, l := range all {
		left = append(left, l.Subject+" "+string(l.Body))
	}
	if !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

// TestEraseOutcomes: receipts with a value of an erased agent and errors of commands
// on it are removed; other outcomes stay.
func TestEraseOutcomes(t *testing.T) {
	r := newRig(t, 1)
	r.prepare()
	left := uint64(0)
	for i, o := range []struct {
		sent, body string
		goes       bool
	}{
		{"agent.a1.append", `{"aggregate":"agent","id":"a1","revision":9,"value":[1]}`, true},
		{"agent.a1.append", `{"aggregate":"agent","id":"a1","revision":10,"value":["of a new life"]}`, false},
		{"agent.a1.set", `{"aggregate":"agent","id":"a1"}`, false},
		{"agent.b.append", `{"aggregate":"agent","id":"b","value":"a1"}`, false},
		{"task.t1.claim", `{"aggregate":"task","id":"t1"}`, false},
		{"agent.a1.add", `{"error":{"message":"5 + 1 is 6, more than the maximum 5"}}`, true},
		{"agent.b.add", `{"error":{"message":"a1"}}`, false},
		{"agent.a1.add", `no JSON`, false},
	} {
		subject := fmt.Sprint("outcomes.c", i)
		if i%2 == 1 {
			subject = "tm.ACC." + subject
		}
		msg := &nats.Msg{Subject: subject, Data: []byte(o.body), Header: nats.Header{"Tidemark-Subject": {"enqueue." + o.sent}}}
		_, err := r.js.PublishMsg(t.Context(), msg, jetstream.WithExpectStream(intake.OutcomesStream))
		harness.Must(t, err)
		if !o.goes {
			left++
		}
	}
	harness.Must(t, intake.EraseOutcomes(t.Context(), r.client, natsio.Subjects{}, erased, 9))
	if n := r.count(intake.OutcomesStream); n != left {
		t.Errorf("%d outcomes are left, want %d", n, left)
	}
}
