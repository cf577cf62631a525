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
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestPoison: what cannot be read, panics, or meets a defect again and again is
// set aside with its reason, and those behind it go on.
func TestPoison(t *testing.T) {
	r := newRig(t, 1)
	var mended atomic.Bool
	var seen calls
	e := r.start(func(h handle) handle {
		return func(ctx context.Context, req commands.Request, done func(commands.Receipt, error)) {
			switch seen.add(req.CommandID); {
			case mended.Load():
			case req.ID == "panics":
				panic("no good\nat all")
			case req.ID == "defect":
				done(commands.Receipt{}, errors.New("a defect"))
				return
			}
			h(ctx, req, done)
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
	all := r.lettersAre(6)
	reasons := map[string]string{}
	for _, l := range all {
		reasons[l.CommandID] = l.Reason
		if l.Source != "commands" || l.Stream != intake.CommandsStream || l.Sequence == 0 || l.Stored == "" || string(l.Body) != body {
			t.Errorf("letter %+v", l)
		}
		if id, ok := ids[l.Subject]; ok && l.CommandID != id && l.CommandID != behind {
			t.Errorf("letter of %s is of %s, want %s", l.Subject, l.CommandID, id)
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
	box := r.letters()
	for i := range all {
		must(t, box.Retry(t.Context(), &all[i]))
	}
	left := r.lettersAre(3) // what will never be readable comes back
	for _, name := range []string{"panics", "defect"} {
		support.Eventually(t, name+" is carried out by its retry", func() bool {
			got := r.history(events.StateEntry(name, "k"))
			return len(got) > 0 && got[0].CommandID == ids["enqueue.agent."+name+".set"]
		})
	}
	for _, l := range left {
		must(t, box.Drop(t.Context(), l.Seq))
	}
	if err := box.Drop(t.Context(), left[0].Seq); !errors.Is(err, intake.ErrNoLetter) {
		t.Errorf("dropped twice: %v", err)
	}
	if _, err := box.Get(t.Context(), left[0].Seq); !errors.Is(err, intake.ErrNoLetter) {
		t.Errorf("got after drop: %v", err)
	}
	r.lettersAre(0)
}

// TestRetryTwice: a retry that was interrupted before the letter was removed
// enqueues nothing the second time.
func TestRetryTwice(t *testing.T) {
	r := newRig(t, 1)
	e := r.start(nil)
	r.enqueue("enqueue.nonsense", "", "")
	letter := r.lettersAre(1)[0]
	r.drained()
	e.close()
	box := r.letters()
	must(t, box.Retry(t.Context(), &letter))
	if err := box.Retry(t.Context(), &letter); !errors.Is(err, intake.ErrNoLetter) {
		t.Errorf("the second retry: %v", err)
	}
	if n := r.count(intake.CommandsStream); n != 1 {
		t.Errorf("%d messages enqueued", n)
	}
}

// TestBadMessages: no message, however strange, ends the process; whatever is a
// command beside them is carried out.
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
		must(t, err)
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
