package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestDeadLetters: a message that cannot be decoded, panics, or fails again and
// again becomes a dead letter with its reason, and later messages proceed.
func TestDeadLetters(t *testing.T) {
	r := newRig(t, 1)
	var mended atomic.Bool
	var seen calls
	e := r.start(func(send reactors.Send) reactors.Send {
		return func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
			switch seen.add(req.CommandID); {
			case mended.Load():
			case req.ID == "panics":
				panic("no good\nat all")
			case req.ID == "defect":
				return commands.Receipt{}, errors.New("a defect")
			}
			return send(ctx, req)
		}
	})
	defer e.close()
	body := `{"key":"k","value":1}`
	ids := map[string]string{}
	for _, subject := range []string{"enqueue.agent.panics.set", "enqueue.agent.defect.set", "enqueue.agent", "enqueue.agent.a1.set.more"} {
		ids[subject] = r.enqueue(subject, "", body)
	}
	r.enqueue("enqueue.agent.a1.set", "no.id", body)
	behind := r.enqueue("enqueue.agent.panics.set", "", body)
	all := r.awaitDeadLetters(6)
	reasons := map[string]string{}
	for _, l := range all {
		reasons[l.CommandID] = l.Reason
		if l.Source != "commands" || l.Stream != intake.CommandsStream || l.Sequence == 0 || l.Stored == "" || string(l.Body) != body {
			t.Errorf("dead letter %+v", l)
		}
		if id, ok := ids[l.Subject]; ok && l.CommandID != id && l.CommandID != behind {
			t.Errorf("the dead letter of %s has command %s, want %s", l.Subject, l.CommandID, id)
		}
	}
	for id, want := range map[string]string{
		ids["enqueue.agent.panics.set"]: "no good", ids["enqueue.agent.defect.set"]: "a defect",
		ids["enqueue.agent"]: "enqueue.<aggregate>", ids["enqueue.agent.a1.set.more"]: "enqueue.<aggregate>", "no.id": "command id",
	} {
		if !strings.Contains(reasons[id], want) {
			t.Errorf("the reason of %s is %q, want %q", id, reasons[id], want)
		}
		if id != "no.id" {
			if o := r.outcome(e, id); o.Error == nil || o.Error.Code != "command.set_aside" {
				t.Errorf("outcome of %s: %+v", id, o)
			}
		}
	}
	if n := seen.add(ids["enqueue.agent.defect.set"]); n != 1+3+1 {
		t.Errorf("the defect was met %d times, want 4", n-1)
	}

	mended.Store(true)
	box := r.deadLetters()
	for i := range all {
		harness.Must(t, box.Retry(t.Context(), &all[i]))
	}
	left := r.awaitDeadLetters(3) // a message that cannot be decoded fails again
	for _, name := range []string{"panics", "defect"} {
		harness.Eventually(t, name+" is carried out by its retry", func() bool {
			got := r.history(events.StateEntry(name, "k"))
			return len(got) > 0 && got[0].CommandID == ids["enqueue.agent."+name+".set"]
		})
	}
	for _, l := range left {
		harness.Must(t, box.Drop(t.Context(), l.Seq))
	}
	if err := box.Drop(t.Context(), left[0].Seq); !errors.Is(err, intake.ErrNoDeadLetter) {
		t.Errorf("dropped twice: %v", err)
	}
	if _, err := box.Get(t.Context(), left[0].Seq); !errors.Is(err, intake.ErrNoDeadLetter) {
		t.Errorf("got after drop: %v", err)
	}
	r.awaitDeadLetters(0)
}

// TestRetryTwice: a second retry, after one that was interrupted before it
// removed the dead letter, enqueues nothing.
func TestRetryTwice(t *testing.T) {
	r := newRig(t, 1)
	e := r.start(nil)
	r.enqueue("enqueue.nonsense", "", "")
	letter := r.awaitDeadLetters(1)[0]
	r.drained()
	e.close()
	box := r.deadLetters()
	harness.Must(t, box.Retry(t.Context(), &letter))
	if err := box.Retry(t.Context(), &letter); !errors.Is(err, intake.ErrNoDeadLetter) {
		t.Errorf("the second retry: %v", err)
	}
	if n := r.count(intake.CommandsStream); n != 1 {
		t.Errorf("%d messages enqueued", n)
	}
}

// TestBadMessages: no malformed message ends the process; valid commands beside
// them are executed.
func TestBadMessages(t *testing.T) {
	r := newRig(t, 1)
	e := r.start(nil)
	defer e.close()
	var ids []string
	for i, header := range []nats.Header{
		{"Many": {"1", "2", "3"}}, {"Empty": {""}}, {"_watermill_message_uuid": {"x", "y"}},
		{"traceparent": {"no", "trace"}}, {"traceparent": {strings.Repeat("0", 9000)}}, {"Tidemark-Sequence": {"-1"}},
		{"reason_poisoned": {"me"}}, {"Nats-Msg-Id": {""}},
	} {
		msg := &nats.Msg{Subject: fmt.Sprintf("enqueue.agent.a%d.set", i), Header: header, Data: []byte(`{"key":"k","value":1}`)}
		_, err := r.js.PublishMsg(t.Context(), msg)
		harness.Must(t, err)
	}
	for _, body := range []string{"", "null", "[]", "{", "\xff\x00", strings.Repeat("[", 100_000), strings.Repeat("x", 600_000)} {
		ids = append(ids, r.enqueue("enqueue.agent.b.set", "", body))
	}
	for _, subject := range []string{"enqueue.x.y.z", "enqueue.agent.kv.set", "enqueue.reactor.none.other", "enqueue.agent.é.set"} {
		r.enqueue(subject, "", `{"key":"k","value":1}`)
	}
	r.drained()
	for i := range 8 {
		if got := r.history(events.StateEntry(fmt.Sprint("a", i), "k")); len(got) != 1 {
			t.Errorf("a%d has %d events", i, len(got))
		}
	}
	for _, id := range ids {
		if o := r.outcome(e, id); o.Error == nil || o.Error.Status/100 != 4 {
			t.Errorf("outcome %+v", o)
		}
	}
}
