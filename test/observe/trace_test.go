package observe_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tidemark-engine/tidemark/test/harness"
)

const (
	traceA = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceB = "5bf92f3577b34da6a3ce929d0e0e4736"
	traceC = "6bf92f3577b34da6a3ce929d0e0e4736"
	traceD = "7bf92f3577b34da6a3ce929d0e0e4736"
	traceE = "8bf92f3577b34da6a3ce929d0e0e4736"
	client = "00f067aa0ba902b7" // the client's span
)

func parent(trace, flags string) string { return "00-" + trace + "-" + client + "-" + flags }

// views are those that fold an entry.
var views = []string{"view hot", "view durable", "view archive", "view feeds", "view notifications"}

func (w *world) oneTrace(t *testing.T) {
	r := w.set(t, "agent-secret", "key-secret", "value-secret", parent(traceA, "01"))
	spans := w.collector.await(t, traceA, append([]string{"commands.agent.set", "decide", "append"}, views...)...)
	command := spans["commands.agent.set"][0]
	if got := hex.EncodeToString(command.GetParentSpanId()); got != client || command.GetKind() != otlp.Span_SPAN_KIND_SERVER {
		t.Errorf("the command's span is %v below %s, want the client's span %s", command.GetKind(), got, client)
	}
	if got := attribute(command, "tidemark.outcome"); got != "accepted" {
		t.Errorf("the command's span has outcome %v", got)
	}
	own := hex.EncodeToString(command.GetSpanId())
	for _, name := range append([]string{"decide", "append"}, views...) {
		if len(spans[name]) != 1 || hex.EncodeToString(spans[name][0].GetParentSpanId()) != own {
			t.Errorf("%s: %d spans, the first below %x, want one below the command's %s", name, len(spans[name]), spans[name][0].GetParentSpanId(), own)
			continue
		}
		s := spans[name][0]
		if name != "decide" && attribute(s, "tidemark.revision") != int64(r.Revision) {
			t.Errorf("%s: revision %v, want %d", name, attribute(s, "tidemark.revision"), r.Revision)
		}
		if s.GetStartTimeUnixNano() < command.GetStartTimeUnixNano() || s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
			t.Errorf("%s: from %d to %d, the command came at %d", name, s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano(), command.GetStartTimeUnixNano())
		}
	}
	if got := w.traceparent(t, r.Revision); got != "00-"+traceA+"-"+own+"-01" {
		t.Errorf("the event has traceparent %s, want the command's span %s", got, own)
	}
	if w.collector.service != "tidemark" || len(w.collector.broken) > 0 {
		t.Errorf("service %q, refused: %v", w.collector.service, w.collector.broken)
	}
	for _, secret := range []string{"agent-secret", "key-secret", "value-secret", r.CommandID} {
		if strings.Contains(w.collector.sent(), secret) {
			t.Errorf("the spans show %s", secret)
		}
	}
}

// traceparent is that of the event at a revision.
func (w *world) traceparent(t *testing.T, revision uint64) string {
	t.Helper()
	s, err := w.c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	msg, err := s.GetMsg(t.Context(), revision)
	harness.Must(t, err)
	var ev struct{ Traceparent string }
	harness.Must(t, json.Unmarshal(msg.Data, &ev))
	return ev.Traceparent
}

func (w *world) enqueued(t *testing.T) {
	_, err := w.c.JS.PublishMsg(t.Context(), &nats.Msg{
		Subject: "enqueue.agent.a1.set", Data: []byte(`{"key":"queued","value":1}`), Header: nats.Header{"traceparent": {parent(traceB, "01")}},
	}, jetstream.WithExpectStream("COMMANDS"))
	harness.Must(t, err)
	spans := w.collector.await(t, traceB, append([]string{"enqueue.agent.set", "append"}, views...)...)
	command := spans["enqueue.agent.set"][0]
	if got := hex.EncodeToString(command.GetParentSpanId()); got != client || command.GetKind() != otlp.Span_SPAN_KIND_CONSUMER {
		t.Errorf("the command's span is %v below %s, want the client's span", command.GetKind(), got)
	}
	if got := string(spans["view durable"][0].GetParentSpanId()); got != string(command.GetSpanId()) {
		t.Errorf("the SQL view's span is below %x", got)
	}
}

// unsampled: a later trace arrives, so an earlier one would have.
func (w *world) unsampled(t *testing.T) {
	r := w.set(t, "a1", "unsampled", 1, parent(traceC, "00"))
	if got := w.traceparent(t, r.Revision); got != parent(traceC, "00") {
		t.Errorf("the event has traceparent %s, want the client's own", got)
	}
	w.set(t, "a1", "unsampled", 2, parent(traceD, "01"))
	w.collector.await(t, traceD, views...)
	if spans := w.collector.trace(traceC); len(spans) > 0 {
		t.Errorf("the unsampled trace has %d kinds of spans", len(spans))
	}
	_, err := w.c.Ask(t.Context(), &nats.Msg{
		Subject: "commands.agent.a1.set", Data: []byte(`{"key":"unsampled","value":3,"expected_version":7}`), Header: nats.Header{"traceparent": {parent(traceE, "01")}},
	})
	harness.WantRefusal(t, "a stale write", err, 409, "state.conflict")
	failed := w.collector.await(t, traceE, "commands.agent.set", "decide", "append") // the losing write is stored
	if s := failed["commands.agent.set"][0]; attribute(s, "error.type") != "state.conflict" || s.GetStatus().GetCode() != otlp.Status_STATUS_CODE_ERROR || s.GetStatus().GetMessage() != "" {
		t.Errorf("the refused command's span has %v, status %v", attribute(s, "error.type"), s.GetStatus())
	}
}

// links: the batch that wrote the first trace's event links to its command.
func (w *world) links(t *testing.T) {
	command := w.collector.trace(traceA)["commands.agent.set"][0]
	linked := func(name string) (found bool) {
		w.collector.mu.Lock()
		defer w.collector.mu.Unlock()
		for _, s := range w.collector.spans {
			for _, l := range s.GetLinks() {
				found = found || s.GetName() == name && len(s.GetParentSpanId()) == 0 && string(l.GetSpanId()) == string(command.GetSpanId())
			}
		}
		return found
	}
	for _, name := range []string{"batch hot", "batch durable"} {
		harness.Eventually(t, name+" links to the command", func() bool { return linked(name) })
	}
	if s := w.collector.trace(traceA)["view durable"][0]; len(s.GetLinks()) != 1 {
		t.Errorf("the SQL view's span has %d links, want the one to its batch", len(s.GetLinks()))
	}
}
