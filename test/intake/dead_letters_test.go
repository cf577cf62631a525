package intake_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

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
	empty := &nats.Msg{Subject: "enqueue.agent.a2.set", Header: nats.Header{nats.MsgIdHdr: []string{""}}, Data: []byte(body)}
	ack, err := r.js.PublishMsg(t.Context(), empty)
	harness.Must(t, err)
	ids["an empty id"] = fmt.Sprint("q-", ack.Sequence)
	behind := r.enqueue("enqueue.agent.panics.set", "", body)
	all := r.awaitDeadLetters(7)
	codes := map[string]string{"enqueue.agent": "command.unknown", "enqueue.agent.a1.set.more": "id.invalid", "an empty id": "id.invalid"}
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
		ids["enqueue.agent"]: "<aggregate>.<id>.<verb>", ids["enqueue.agent.a1.set.more"]: "has a dot",
	} {
		if !strings.Contains(reasons[id], want) {
			t.Errorf("the reason of %s is %q, want %q", id, reasons[id], want)
		}
	}
	for subject, id := range ids {
		if o := r.outcome(e, id); o.Error == nil || o.Error.Code != cmp.Or(codes[subject], "command.set_aside") {
			t.Errorf("outcome of %s: %+v", subject, o.Error)
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
	noID := ""
	for _, l := range all {
		if l.Subject == "enqueue.agent.a1.set" { // its own id was invalid
			noID = fmt.Sprint("q-", l.Sequence)
		}
	}
	left := r.awaitDeadLetters(2) // a message that is no command fails again
	for _, name := range []string{"panics", "defect", "a1"} {
		if name == "a1" {
			ids["enqueue.agent.a1.set"] = noID
		}
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

// TestNeverSucceeds: what can never succeed is a dead letter at once, with an
// outcome that says why, and with the id that the client knows: its own or that of
// the PubAck. No header of a client changes the id or another client's outcome.
func TestNeverSucceeds(t *testing.T) {
	r := newRig(t, 1)
	e := r.start(nil)
	defer e.close()
	victim := r.enqueue("enqueue.agent.victim.set", "victim", `{"key":"k","value":1}`)
	before := r.outcome(e, victim)
	var executed []uint64
	for i, header := range []nats.Header{
		{"Tidemark-Command-Id": {victim}}, {"Tidemark-Command-Id": {"no.id"}}, {"Tidemark-Sequence": {"1"}}, {"Tidemark-Time": {"garbage"}},
		{"Tidemark-Time": {"0001-01-01T00:00:00Z"}}, {"Tidemark-Time": {"0000-00-00T00:00:00Z"}}, {"Tidemark-Time": {"9999-12-31T23:59:59Z"}},
		{"Tidemark-Time": {"2026-02-30T00:00:00Z"}}, {"Tidemark-Time": {"-0044-03-15T00:00:00Z"}}, {"tidemark-time": {"1970-01-01T00:00:00Z"}},
	} {
		for n := range 20 {
			msg := &nats.Msg{Subject: fmt.Sprintf("enqueue.agent.h%d.set", i), Data: fmt.Appendf(nil, `{"key":"k%d","value":1}`, n), Header: header}
			ack, err := r.js.PublishMsg(t.Context(), msg)
			harness.Must(t, err)
			executed = append(executed, ack.Sequence)
		}
	}
	bad := map[string]int{ // the status by subject and body
		"enqueue.agent.a1.set {": 400, "enqueue.agent.a1.set ": 400, `enqueue.agent.a1.set {"key":"k","value":1,"x":1}`: 400,
		"enqueue.agent.v1.2.set {}": 400, "enqueue.x.y.z {}": 404, "enqueue.agent.a1.fly {}": 404, "enqueue.agent {}": 404, "enqueue.agent.a1.a2.a3 {}": 400,
		"enqueue.reactor.none.react {}": 404, "enqueue.reactor.echo.run {}": 404, "enqueue.agent.a1.hydrated {}": 404,
		"enqueue.agent.a1.set " + strings.Repeat("x", 600_000): 413,
	}
	early := ulid.MustNew(uint64(time.Now().Add(24*365*time.Hour).UnixMilli()), nil).String()
	sequences := map[string]uint64{}
	for text := range bad {
		subject, body, _ := strings.Cut(text, " ")
		ack, err := r.js.Publish(t.Context(), subject, []byte(body))
		harness.Must(t, err)
		sequences[text] = ack.Sequence
	}
	r.enqueue("enqueue.agent.early.set", early, `{"key":"k","value":1}`)
	two := nats.NewMsg("enqueue.agent.a1.set")
	two.Data, two.Header["Nats-Msg-Id"], two.Header["nats-msg-id"] = []byte(`{"key":"two","value":1}`), []string{"c1"}, []string{"c2"}
	ack, err := r.js.PublishMsg(t.Context(), two)
	harness.Must(t, err)
	r.drained()
	if o := r.outcome(e, fmt.Sprint("q-", ack.Sequence)); o.Error == nil || o.Error.Code != "header.invalid" {
		t.Errorf("outcome of a command with two ids: %+v", o)
	}
	for _, seq := range executed {
		if o := r.outcome(e, fmt.Sprint("q-", seq)); o.Outcome != "accepted" {
			t.Fatalf("outcome of q-%d: %+v", seq, o)
		}
	}
	letters := map[string]intake.DeadLetter{}
	all, err := r.deadLetters().All(t.Context())
	harness.Must(t, err)
	for _, l := range all {
		letters[l.CommandID] = l
	}
	for text, status := range bad {
		id := fmt.Sprint("q-", sequences[text])
		o := r.outcome(e, id)
		if o.Error == nil || o.Error.Status != status {
			t.Errorf("%.60s: outcome %+v, want %d", text, o.Error, status)
		} else if l := letters[id]; l.Sequence != sequences[text] || !strings.Contains(l.Reason, o.Error.Code) {
			t.Errorf("%.60s: dead letter %+v", text, l)
		}
	}
	if after := r.outcome(e, victim); after != before {
		t.Errorf("the outcome of another client's command is %+v, was %+v", after, before)
	}
	r.outcome(e, early) // accepted or refused, but settled
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
		{"reason_poisoned": {"me"}},
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
	for i := range 7 {
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

// TestDeadLettersOfOneClient: a client whose commands become dead letters without end removes its
// own oldest ones, and none of another client.
func TestDeadLettersOfOneClient(t *testing.T) {
	r := newRig(t, 1)
	r.letterBytes = 1 << 20
	e := r.start(nil)
	defer e.close()
	bad := func(account string, n int) {
		_, err := r.js.PublishMsg(t.Context(), &nats.Msg{Subject: "lanes.0.agent.a1.set." + account,
			Header: nats.Header{nats.MsgIdHdr: {"no.id"}}, Data: append(fmt.Appendf(nil, "%d ", n), make([]byte, 100<<10)...)})
		harness.Must(t, err)
	}
	bad("QUIET", 0)
	const many = 40
	for n := range many {
		bad("GREEDY", n)
	}
	bad("QUIET", 1)
	r.drained()
	letters, err := r.deadLetters().All(t.Context())
	harness.Must(t, err)
	numbers := map[string][]int{}
	for _, l := range letters {
		account, n := r.account(l.Seq), 0
		_, err := fmt.Sscan(string(l.Body[:3]), &n)
		harness.Must(t, err)
		numbers[account] = append(numbers[account], n)
	}
	if !slices.Equal(numbers["QUIET"], []int{0, 1}) {
		t.Errorf("the quiet client has the dead letters %v", numbers["QUIET"])
	}
	if got := numbers["GREEDY"]; len(got) < 8 || len(got) > 10 || !slices.IsSorted(got) || got[len(got)-1] != many-1 {
		t.Errorf("the greedy client has the dead letters %v, want its last ten", got)
	}
	if counts, err := e.DeadLetterCounts(t.Context()); err != nil || counts["commands"] != uint64(len(letters)) || len(counts) != 1 {
		t.Errorf("counts %v, %v; want %d of the source commands", counts, err, len(letters))
	}

	// An operator removes them all: the room begins again, and is not larger.
	box, err := r.js.Stream(t.Context(), intake.DeadLettersStream)
	harness.Must(t, err)
	harness.Must(t, box.Purge(t.Context()))
	for n := range many {
		bad("GREEDY", n)
	}
	r.drained()
	if n := r.count(intake.DeadLettersStream); n < 8 || n > 10 {
		t.Errorf("after a purge the greedy client has %d dead letters, want its last ten", n)
	}
}
