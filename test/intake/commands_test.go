package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestExecutedAfterStart: commands that were enqueued while no engine ran are
// executed once after a start, in order per aggregate, and each has an outcome.
func TestExecutedAfterStart(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		t.Run(fmt.Sprint(partitions, " partitions"), func(t *testing.T) {
			r := newRig(t, partitions)
			r.prepare()
			ids := map[string]string{}
			for n := range 20 {
				for a := range 10 {
					body := fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, n)
					ids[fmt.Sprint(a, "/", n)] = r.enqueue(fmt.Sprintf("enqueue.agent.a%d.set", a), "", body)
				}
			}
			e, other := r.start(nil), r.start(nil) // two engines share the work
			defer e.close()
			defer other.close()
			r.drained()
			for a := range 10 {
				got := r.history(events.StateEntry(fmt.Sprint("a", a), "k"))
				if len(got) != 20 {
					t.Fatalf("a%d has %d events, want 20", a, len(got))
				}
				for n, rec := range got {
					id := ids[fmt.Sprint(a, "/", n)]
					if rec.CommandID != id || rec.Version != uint64(n+1) {
						t.Errorf("event %d of a%d is version %d of %s, want %s", n, a, rec.Version, rec.CommandID, id)
					}
					if o := r.outcome(e, id); o.Outcome != "accepted" || o.Revision != rec.Revision || o.CommandID != id {
						t.Errorf("outcome of %s: %+v, event at %d", id, o, rec.Revision)
					}
				}
			}
		})
	}
}

// TestOutcomeIsPublished: the outcome is published and stored, in the form of a
// reply. A refusal is an outcome, not a dead letter.
func TestOutcomeIsPublished(t *testing.T) {
	r := newRig(t, 1)
	e := r.start(nil)
	defer e.close()
	sub, err := r.client.SubscribeSync("outcomes.*")
	harness.Must(t, err)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	msg := &nats.Msg{Subject: "enqueue.task.t1.start", Data: []byte(`{"agent_id":"a1"}`),
		Header: nats.Header{"traceparent": {parent}, "tracestate": {"k=v"}}}
	ack, err := r.js.PublishMsg(t.Context(), msg)
	harness.Must(t, err)
	got, err := sub.NextMsgWithContext(t.Context())
	harness.Must(t, err)
	id := strings.TrimPrefix(got.Subject, "outcomes.")
	if id != fmt.Sprint("q-", ack.Sequence) {
		t.Errorf("a command without an id got %q, its sequence is %d", id, ack.Sequence)
	}
	if got.Header.Get("Nats-Service-Error-Code") != "422" && got.Header.Get("Nats-Service-Error-Code") != "404" {
		t.Errorf("headers %v", got.Header)
	}
	if got.Header["traceparent"][0] != parent || got.Header["tracestate"][0] != "k=v" {
		t.Errorf("the trace is lost: %v", got.Header)
	}
	msg.Subject, msg.Data = "enqueue.agent.a1.set", []byte(`{"key":"k","value":1}`)
	msg.Header["tracestate"] = []string{"no state"}
	ack, err = r.js.PublishMsg(t.Context(), msg)
	harness.Must(t, err)
	r.outcome(e, fmt.Sprint("q-", ack.Sequence))
	if stored := r.history(events.StateEntry("a1", "k")); len(stored) != 1 || stored[0].TraceParent != parent || stored[0].TraceState != "" {
		t.Errorf("the event has another trace context: %+v", stored)
	}
	o := r.outcome(e, id)
	if o.Error == nil || o.Error.Status == 0 || o.Error.Code == "" {
		t.Errorf("outcome %s", got.Data)
	}
	for unknown, status := range map[string]int{ulid.Make().String(): 404, "no.id": 400} {
		var known *domain.Error
		if _, err := e.Outcome(t.Context(), unknown); !errors.As(err, &known) || known.Kind.Status() != status {
			t.Errorf("outcome of %s: %v, want %d", unknown, err, status)
		}
	}
	r.drained()
	if n := r.count(intake.DeadLettersStream); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestIDs: a command id takes effect once on its aggregate and returns the first
// receipt; another body under it is 409, which is published and does not replace the
// receipt. The same id on another aggregate is another command, and a refused command
// may be enqueued again under its id. The
// stream swallows none of them, also one without an id beside a client's q-id.
func TestIDs(t *testing.T) {
	r := newRig(t, 1)
	e := r.start(nil)
	defer e.close()
	ack := func(subject, id, body string) uint64 {
		t.Helper()
		a, err := r.js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{"nats-msg-id": {id}}})
		harness.Must(t, err)
		return a.Sequence
	}
	// outcome waits for the outcome of the command at a sequence.
	outcome := func(id string, seq uint64) (a answer) {
		t.Helper()
		harness.Eventually(t, "the outcome of "+id, func() bool {
			m, err := r.js.Stream(t.Context(), intake.OutcomesStream)
			harness.Must(t, err)
			raw, err := m.GetLastMsgForSubject(t.Context(), "outcomes."+id)
			if err != nil || raw.Header.Get("Tidemark-Sequence") != fmt.Sprint(seq) {
				return false
			}
			a = r.outcome(e, id)
			return true
		})
		return a
	}
	const body = `{"key":"k","value":1}`
	for _, id := range []string{"plain", ulid.Make().String()} {
		first := outcome(id, ack("enqueue.agent.d1.set", id, body))
		if second := outcome(id, ack("enqueue.agent.d2.set", id, body)); first.Outcome != "accepted" || second.Outcome != "accepted" || second.Replayed {
			t.Errorf("%s on d1: %+v, on d2: %+v", id, first, second)
		}
		again := outcome(id, ack("enqueue.agent.d1.set", id, ` { "value" : 1, "key":"k"}`))
		if !again.Replayed || again.Version != first.Version || again.Revision != first.Revision {
			t.Errorf("repeated: %+v, first %+v", again, first)
		}
		for _, refused := range []struct {
			verb, body string
			status     int
		}{{"set", `{"key":"k","value":2}`, 409}, {"fly", `{}`, 404}, {"set", `{"key":"k","value":2,"extra":1}`, 400}} {
			published, err := r.client.SubscribeSync("outcomes." + id)
			harness.Must(t, err)
			harness.Must(t, r.client.Flush())
			seq := ack("enqueue.agent.d1."+refused.verb, id, refused.body)
			msg, err := published.NextMsgWithContext(t.Context())
			harness.Must(t, err)
			harness.Must(t, published.Unsubscribe())
			if h := msg.Header; h.Get("Nats-Service-Error-Code") != fmt.Sprint(refused.status) || h.Get("Tidemark-Sequence") != fmt.Sprint(seq) {
				t.Errorf("%s %s: published %v %s", refused.verb, refused.body, h, msg.Data)
			}
			r.drained()
			if kept := r.outcome(e, id); kept != again {
				t.Errorf("after %s %s the receipt of %s is %+v, was %+v", refused.verb, refused.body, id, kept, again)
			}
		}
	}
	if refused := outcome("s1", ack("enqueue.task.t1.start", "s1", `{"agent_id":"a1"}`)); refused.Error == nil || refused.Error.Status/100 != 4 {
		t.Errorf("start before create: %+v", refused)
	}
	outcome("c1", ack("enqueue.task.t1.create", "c1", `{"kind":"k"}`))
	if after := outcome("s1", ack("enqueue.task.t1.start", "s1", `{"agent_id":"a1"}`)); after.Outcome != "accepted" {
		t.Errorf("start after create, under the same id: %+v", after)
	}
	if n := r.count(intake.DeadLettersStream); n != 4 {
		t.Errorf("%d dead letters, want the bad verb and body of each id", n)
	}
}

// TestEngineEndsBeforeOutcome: when an engine ends after the event and before
// the outcome, the next engine finds the command executed.
func TestEngineEndsBeforeOutcome(t *testing.T) {
	r := newRig(t, 1)
	executed := make(chan struct{}, 10)
	first := r.start(func(send reactors.Send) reactors.Send {
		return func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
			_, _ = send(ctx, req)
			executed <- struct{}{}
			return commands.Receipt{}, errUnavailable // the answer is lost
		}
	})
	id := r.enqueue("enqueue.agent.a1.set", "", `{"key":"k","value":1}`)
	behind := r.enqueue("enqueue.agent.a1.set", "", `{"key":"k","value":2,"strategy":"last_write_wins"}`)
	harness.Receive(t, "an execution", executed)
	first.close()
	second := r.start(nil)
	defer second.close()
	if o := r.outcome(second, id); !o.Replayed || o.Version != 1 {
		t.Errorf("outcome %+v", o)
	}
	if o := r.outcome(second, behind); o.Replayed || o.Version != 2 {
		t.Errorf("outcome of the command behind it %+v", o)
	}
	if got := r.history(events.StateEntry("a1", "k")); len(got) != 2 || got[0].CommandID != id {
		t.Errorf("%d events", len(got))
	}
}

// TestBlockedCommandKeepsOrder: while a command cannot be executed, the later
// ones of its aggregate wait, and then follow in order.
func TestBlockedCommandKeepsOrder(t *testing.T) {
	r := newRig(t, 1)
	var refused atomic.Int64
	e := r.start(func(send reactors.Send) reactors.Send {
		return func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
			if n := refused.Add(1); n <= 5 {
				kind := []domain.Kind{domain.Overloaded, domain.Unavailable}[n%2]
				return commands.Receipt{}, domain.Errorf(kind, "test.away", "attempt %d", n)
			}
			return send(ctx, req)
		}
	})
	defer e.close()
	var ids []string
	for n := range 10 {
		ids = append(ids, r.enqueue("enqueue.agent.a1.set", "", fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, n)))
	}
	r.drained()
	for n, rec := range r.history(events.StateEntry("a1", "k")) {
		if rec.CommandID != ids[n] {
			t.Errorf("event %d is of %s, want %s", n, rec.CommandID, ids[n])
		}
	}
	if n := r.count(intake.DeadLettersStream); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestEnginesTakeTurns: engines that have the commands of one aggregate between them
// execute them in order, and without the pause of a retry at each.
func TestEnginesTakeTurns(t *testing.T) {
	r := newRig(t, 1)
	r.prepare()
	r.backoff = 2 * time.Second
	for range 2 {
		defer r.start(nil).close()
	}
	const n = 40
	begin := time.Now()
	for i := range n {
		r.enqueue("enqueue.agent.a1.set", "", fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, i))
	}
	r.drained()
	if took := time.Since(begin); took > n/8*r.backoff {
		t.Errorf("%d commands took %v", n, took)
	}
	for i, rec := range r.history(events.StateEntry("a1", "k")) {
		if write, err := events.DecodeStateWrite(rec.Data); err != nil || string(write.Value) != strconv.Itoa(i) {
			t.Errorf("event %d holds %s: %v", i, write.Value, err)
		}
	}
}

// TestWaitingCommands: commands that must wait stop their own aggregates alone,
// however many they are and however long each attempt takes; others settle. When
// they need not wait, they follow in order. Two engines share the queue.
func TestWaitingCommands(t *testing.T) {
	r := newRig(t, 1)
	release := make(chan struct{})
	wrap := func(send reactors.Send) reactors.Send {
		return func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
			select {
			case <-release:
				return send(ctx, req)
			default:
			}
			switch req.ID[0] {
			case 'w': // others come first in each attempt
				return commands.Receipt{}, domain.Errorf(domain.Conflict, "state.contended", "others came first")
			case 's': // a store that does not answer
				<-release
				return commands.Receipt{}, errUnavailable
			}
			return send(ctx, req)
		}
	}
	first := r.start(wrap)
	second := r.start(wrap)
	defer second.close()
	const waiting, slow, each, behind, others = 60, 40, 2, 200, 200 // more behind one command than a consumer has slots
	ids := map[string][]string{}
	put := func(agent string, n int) {
		id := r.enqueue("enqueue.agent."+agent+".set", "", fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, n))
		ids[agent] = append(ids[agent], id)
	}
	for n := range each {
		for a := range waiting {
			put(fmt.Sprint("w", a), n)
		}
		for a := range slow {
			put(fmt.Sprint("s", a), n)
		}
	}
	for n := range behind {
		put("w0", each+n)
	}
	for a := range others {
		put(fmt.Sprint("other", a), 0)
	}
	for a := range others {
		if o := r.outcome(second, ids[fmt.Sprint("other", a)][0]); o.Outcome != "accepted" {
			t.Fatalf("outcome %+v", o)
		}
	}
	close(release)
	first.close() // what it holds goes to the second
	r.drained()
	for agent, want := range ids {
		got := r.history(events.StateEntry(agent, "k"))
		if len(got) != len(want) {
			t.Fatalf("%s has %d events, want %d", agent, len(got), len(want))
		}
		for i, rec := range got {
			if rec.CommandID != want[i] {
				t.Errorf("event %d of %s is of %s, want %s", i, agent, rec.CommandID, want[i])
			}
		}
	}
	if n := r.count(intake.DeadLettersStream); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestCloseWithBacklog: Watermill's subscriber may panic when it is closed
// during a delivery, which would end the process.
func TestCloseWithBacklog(t *testing.T) {
	r := newRig(t, 1)
	r.prepare()
	const commandsEach, rounds = 60, 12
	total := 0
	for round := range rounds {
		for n := range commandsEach {
			r.enqueue(fmt.Sprintf("enqueue.agent.a%d.set", n%40), "", fmt.Sprintf(`{"key":"k%d","value":1}`, round))
		}
		total += commandsEach
		e := r.start(nil)
		harness.Eventually(t, "it has begun", func() bool { return e.handler.Stats().Appends.Load() > 0 })
		e.close()
	}
	e := r.start(nil)
	defer e.close()
	r.drained()
	got := 0
	for a := range 40 {
		for round := range rounds {
			got += len(r.history(events.StateEntry(fmt.Sprint("a", a), fmt.Sprint("k", round))))
		}
	}
	if got != total {
		t.Errorf("%d events of %d commands", got, total)
	}
}

// TestDeletedConsumersAreRecreated: consumers that a client deletes are created
// again, and no command is executed twice.
func TestDeletedConsumersAreRecreated(t *testing.T) {
	r := newRig(t, 1)
	e := r.start(nil)
	defer e.close()
	stream, err := r.js.Stream(t.Context(), intake.CommandsStream)
	harness.Must(t, err)
	names := stream.ConsumerNames(t.Context())
	for name := range names.Name() {
		harness.Must(t, stream.DeleteConsumer(t.Context(), name))
	}
	harness.Must(t, names.Err())
	ids := map[string]int{}
	for a := range 50 {
		ids[r.enqueue(fmt.Sprintf("enqueue.agent.a%d.set", a), "", `{"key":"k","value":1}`)] = a
	}
	r.drained()
	for id, a := range ids {
		if got := r.history(events.StateEntry(fmt.Sprint("a", a), "k")); len(got) != 1 || got[0].CommandID != id {
			t.Errorf("a%d has %d events", a, len(got))
		}
		if o := r.outcome(e, id); o.Outcome != "accepted" {
			t.Errorf("outcome %+v", o)
		}
	}
}
