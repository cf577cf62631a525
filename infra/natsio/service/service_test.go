package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/natsio/service"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// served is a service with a command handler, and a client of it.
type served struct {
	*commands.Handler
	t       *testing.T
	server  *embedded.Server
	service *service.Service
	client  *nats.Conn
	entries *history.History
	config  service.Config
}

func serve(t *testing.T, prefix string) *served {
	t.Helper()
	root := natsio.NewSubjects(prefix).Root("")
	s := &served{t: t, server: support.NATSFor(t, embedded.Config{Dir: t.TempDir(), Prefix: root})}
	j, err := journal.Open(t.Context(), support.Engine(t, s.server), journal.Config{Subjects: natsio.NewSubjects(prefix)})
	if err != nil {
		t.Fatal(err)
	}
	s.entries = history.New(j, nil, 0)
	s.Handler = commands.NewHandler(history.New(j, nil, 0), commands.Config{})
	t.Cleanup(s.Close)
	s.config = service.Config{
		Subjects: natsio.NewSubjects(prefix), Version: "1.2.3", Commands: s.Handle, Batch: s.HandleBatch,
		Queries: func(_ context.Context, tokens []string, body []byte) ([]byte, error) {
			if tokens[0] == "broken" {
				return nil, errors.New("a secret of the engine")
			}
			return []byte(`"` + strings.Join(tokens, ".") + string(body) + `"`), nil
		},
		Identify: s.server.Authority().Caller, Observe: func(string, string, time.Duration) {}, Log: harness.Log(t),
	}
	if s.service, err = service.Serve(support.Engine(t, s.server), s.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.service.Stop() }) // a second call is harmless
	s.client = support.Client(t, s.server)
	return s
}

const requestTimeout = 10 * time.Second

func (s *served) request(subject, body string, headers ...string) *nats.Msg {
	s.t.Helper()
	msg := nats.NewMsg(subject)
	msg.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Set(headers[i], headers[i+1])
	}
	reply, err := s.client.RequestMsg(msg, requestTimeout)
	if err != nil {
		s.t.Fatalf("%s: %v", subject, err)
	}
	return reply
}

func TestServiceAnswersWithReceipts(t *testing.T) {
	for _, prefix := range []string{"", "acme"} {
		s := serve(t, prefix)
		root := natsio.NewSubjects(prefix).Root("commands.")
		reply := s.request(root+"agent.a1.set", `{"key":"k","value":1}`, nats.MsgIdHdr, "c1")
		var r struct {
			CommandID string `json:"command_id"`
			Outcome   string
			Version   uint64
		}
		if err := json.Unmarshal(reply.Data, &r); err != nil || r.CommandID != "c1" || r.Outcome != "accepted" || r.Version != 1 || len(reply.Header) > 0 {
			t.Errorf("%s, %v", reply.Data, err)
		}
		if got := s.request(natsio.NewSubjects(prefix).Root("queries.")+"agent.a1.get", ""); string(got.Data) != `"agent.a1.get"` {
			t.Errorf("%s", got.Data)
		}
	}
}

func TestServiceErrorsAreMicroErrors(t *testing.T) {
	s := serve(t, "")
	for _, c := range []struct{ subject, body, status, code, text string }{
		{"commands.agent.a1.set", `{"key":"k\r\nNats-Rollup: all","value":1}`, "400", "key.invalid", `'\r'`},
		{"commands.agent.*.set", `{"key":"k","value":1}`, "400", "id.invalid", "'*'"},
		{"commands.agent.kv.set", `{"key":"k","value":1}`, "400", "id.invalid", "reserved"},
		{"commands.agent.$JS.set", `{"key":"k","value":1}`, "400", "id.invalid", "'$'"},
		{"commands.agent.a1.nope", ``, "404", "command.unknown", "nope"},
		{"commands.agent.a.b.set", ``, "400", "id.invalid", `"a.b" has a dot`},
		{"commands.agent.bob@example.org.set", ``, "400", "id.invalid", `"bob@example.org" has a dot`},
		{"commands.agent.bob@example.set", ``, "400", "id.invalid", `"bob@example" has '@'`},
		{"commands.session.v1.2.open", ``, "400", "id.invalid", `"v1.2" has a dot`},
		{"commands.agent.a1.<b>", ``, "404", "command.unknown", `no verb "<b>": its verbs are add, append, delete, erase, expire`},
		{"commands.agent", ``, "404", "command.unknown", "agent, claim, config, message, reminder, session, task"},
		{"commands.queries.agent.a1.get", ``, "404", "command.unknown", "queries.agent.a1.get"},
		{"commands.agent.a1.get", ``, "404", "command.unknown", "queries go to queries.>"},
		{"commands.agent.a1.delete", `{"key":"k"}`, "404", "state.not_found", "k"},
		{"commands.agent.a1.set", `{"key":"k","value":1,"expected_version":5}`, "409", "state.conflict", "5"},
		{"commands.agent.a1.set", `{"key":"k","value":"` + strings.Repeat("v", 300<<10) + `"}`, "413", "value.too_large", "262144"},
		{"commands.agent.a1.set", strings.Repeat("x", 2<<20), "413", "body.too_large", "524288"},
		{"queries.broken.x.y", ``, "500", "internal", "trace id"},
	} {
		reply := s.request(c.subject, c.body)
		var got struct {
			Error struct {
				Kind, Code, Message string
				Details             map[string]any
			}
		}
		err := json.Unmarshal(reply.Data, &got)
		header := reply.Header.Get(micro.ErrorHeader)
		if err != nil || reply.Header.Get(micro.ErrorCodeHeader) != c.status || got.Error.Code != c.code || got.Error.Kind == "" ||
			!strings.Contains(got.Error.Message, c.text) || !strings.HasPrefix(header, c.code) || strings.ContainsAny(header, "\r\n") || len(reply.Header) != 2 {
			t.Errorf("%s: %v %s, %v", c.subject, reply.Header, reply.Data, err)
		}
		if strings.Contains(string(reply.Data), `\u00`) && c.code != "key.invalid" {
			t.Errorf("characters are escaped: %s", reply.Data)
		}
		if strings.Contains(string(reply.Data), "secret") {
			t.Errorf("the reply contains the internal error: %s", reply.Data)
		}
		if id, _ := got.Error.Details["trace_id"].(string); c.code == "internal" && id == "" {
			t.Errorf("no trace id: %s", reply.Data)
		}
	}
	commandstest.Count(s.t, s.entries, "k", 0, 1)
}

func TestServiceIsDiscoverable(t *testing.T) {
	s := serve(t, "")
	s.request("commands.agent.a1.set", `{"key":"k","value":1}`)
	var ping micro.Ping
	if err := json.Unmarshal(s.request("$SRV.PING.tidemark", "").Data, &ping); err != nil || ping.Name != "tidemark" || ping.Version != "1.2.3" {
		t.Errorf("%+v, %v", ping, err)
	}
	var info micro.Info
	if err := json.Unmarshal(s.request("$SRV.INFO.tidemark", "").Data, &info); err != nil || len(info.Endpoints) < 2 {
		t.Errorf("%+v, %v", info, err)
	}
	var stats micro.Stats
	if err := json.Unmarshal(s.request("$SRV.STATS.tidemark", "").Data, &stats); err != nil {
		t.Fatal(err)
	}
	for _, e := range stats.Endpoints {
		if e.Name == "commands" && e.NumRequests != 1 {
			t.Errorf("%+v", e)
		}
	}
	for _, e := range info.Endpoints {
		for _, name := range []string{"schema", "response_schema"} {
			var schema map[string]any
			if err := json.Unmarshal([]byte(e.Metadata[name]), &schema); err != nil || schema["$schema"] == nil {
				t.Errorf("endpoint %s has the %s %q, %v", e.Name, name, e.Metadata[name], err)
			}
		}
	}
}

// TestHeaderNamesAreComparedWithoutCase: a retry under another spelling of the header
// takes effect once.
func TestHeaderNamesAreComparedWithoutCase(t *testing.T) {
	s := serve(t, "")
	for _, name := range []string{nats.MsgIdHdr, "nats-msg-id", "NATS-MSG-ID", "Nats-Msg-ID"} {
		msg := nats.NewMsg("commands.agent.a1.set")
		msg.Data, msg.Header[name] = []byte(`{"key":"k","value":1}`), []string{"c1"}
		reply, err := s.client.RequestMsg(msg, requestTimeout)
		if err != nil || len(reply.Header) > 0 || !strings.Contains(string(reply.Data), `"command_id":"c1"`) {
			t.Errorf("%s: %s, %v", name, reply.Data, err)
		}
	}
	msg := nats.NewMsg("commands.agent.a1.set")
	msg.Data, msg.Header["nats-msg-id"], msg.Header["Nats-Msg-Id"] = []byte(`{"key":"k","value":2}`), []string{"c2"}, []string{"c3"}
	if reply, err := s.client.RequestMsg(msg, requestTimeout); err != nil || !strings.Contains(string(reply.Data), "header.invalid") {
		t.Errorf("two ids: %s, %v", reply.Data, err)
	}
	commandstest.Count(s.t, s.entries, "k", 1, 0)
}

// The events of a command have the trace context of its request, also those of a batch;
// a malformed one is as none.
func TestTheTraceOfARequestIsRecorded(t *testing.T) {
	s := serve(t, "")
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ask := func(subject, body string, header nats.Header) {
		t.Helper()
		reply, err := s.client.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body), Header: header}, requestTimeout)
		if err != nil || reply.Header.Get(micro.ErrorCodeHeader) != "" {
			t.Fatalf("%s: %s, %v", subject, reply.Data, err)
		}
	}
	for key, header := range map[string]nats.Header{
		"traced":    {"TraceParent": {parent}, "TRACESTATE": {"a=1,b=2"}},
		"no-state":  {"traceparent": {parent}, "tracestate": {"no state"}},
		"malformed": {"traceparent": {parent + "-"}, "tracestate": {"a=1"}},
		"two":       {"traceparent": {parent, "00-" + parent[3:54] + "0"}},
		"none":      {},
	} {
		ask("commands.agent.a1.set", `{"key":"`+key+`","value":1}`, header)
		for _, atomic := range []string{"true", "false"} {
			ask("commands.batch", `{"atomic":`+atomic+`,"commands":[{"subject":"agent.a1.set","body":{"key":"`+key+`","value":2,"strategy":"last_write_wins"}}]}`, header)
		}
		wantParent, wantState := "", ""
		switch key {
		case "traced":
			wantParent, wantState = parent, "a=1,b=2"
		case "no-state":
			wantParent = parent
		}
		got := commandstest.Stored(t, s.entries, events.StateEntry("a1", key))
		if len(got) != 3 {
			t.Fatalf("%s has %d events", key, len(got))
		}
		for _, rec := range got {
			if rec.TraceParent != wantParent || rec.TraceState != wantState {
				t.Errorf("%s: %s", key, rec.Encode())
			}
		}
		commandstest.Count(t, s.entries, key, 3, 0)
	}
}

// TestClientHeadersDoNotReachTheJournal sends headers that change how a stream
// stores a message.
func TestClientHeadersDoNotReachTheJournal(t *testing.T) {
	s := serve(t, "")
	s.request("commands.agent.a1.set", `{"key":"k","value":1}`)
	headers := []string{
		"Nats-Rollup", "all", "Nats-Expected-Stream", "NOT_THIS", "Nats-Expected-Last-Sequence", "99", "Nats-Expected-Last-Msg-Id", "x",
		"Nats-Expected-Last-Subject-Sequence", "99", "Nats-TTL", "1s", "Nats-Batch-Id", "b", "Nats-Batch-Sequence", "1", "Nats-Batch-Commit", "1",
		"Nats-Schedule", "@at 2030-01-01T00:00:00Z", "KV-Operation", "PURGE", "Nats-Incr", "1", "Tidemark-Position", "x",
	}
	for i := 0; i < len(headers); i += 2 {
		s.request("commands.agent.a1.set", `{"key":"k","value":2,"strategy":"last_write_wins"}`, headers[i], headers[i+1])
	}
	s.request("commands.agent.a1.set", `{"key":"k","value":3,"strategy":"last_write_wins"}`, headers...)
	commandstest.Count(s.t, s.entries, "k", 2+len(headers)/2, 0)
	stream, err := support.JetStream(t, support.Engine(t, s.server)).Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	for seq := range stream.CachedInfo().State.LastSeq {
		msg, err := stream.GetMsg(t.Context(), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		for name := range msg.Header {
			if name != "Nats-Expected-Last-Subject-Sequence" && name != nats.MsgIdHdr && !strings.HasPrefix(name, "Nats-Sequence") &&
				name != "Nats-Stream" && name != "Nats-Subject" && name != "Nats-Time-Stamp" {
				t.Errorf("event %d has the header %s: %s", seq+1, name, msg.Header.Get(name))
			}
		}
	}
}

// TestRepliesToOwnInboxes: clients may choose their inbox prefix.
func TestRepliesToOwnInboxes(t *testing.T) {
	s := serve(t, "")
	for _, prefix := range []string{"_INBOX_bob", "_mine", "acme.replies", "inbox"} {
		nc, err := nats.Connect(s.server.URL(), nats.CustomInboxPrefix(prefix))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		for _, subject := range []string{"commands.agent.a1.set", "queries.agent.a1.get"} {
			if _, err := nc.Request(subject, []byte(`{"key":"k","value":1}`), requestTimeout); err != nil {
				t.Errorf("%s: %s: %v", prefix, subject, err)
			}
		}
	}
}

// TestRepliesOutsideTheEngine: a client must not make the engine publish to a subject
// on which the client must not write.
func TestRepliesOutsideTheEngine(t *testing.T) {
	s := serve(t, "")
	for _, reply := range []string{
		"events.agent.a1.state.k", "$TIDEMARK.x.0.agent.a1.state.k", "$JS.API.STREAM.PURGE.EVENTS", "$KV.AGENT_STATE.a1.k", "$SRV.PING",
		"agents.state.a1", "tasks.created.t1", "messages.direct.a.b", "commands.agent.a1.set", "enqueue.agent.a1.set", "lanes.0.agent.a1.set",
		"queries.agent.a1.get", "outcomes.x", "deadletters.x", "timers.due.x", "engines.progress.hot.0",
	} {
		for _, subject := range []string{"commands.agent.a1.set", "commands.batch", "queries.agent.a1.get", "commands.x"} {
			if err := s.client.PublishRequest(subject, reply, []byte(`{"key":"k","value":1}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The service handles the requests of one client in order.
	if r := s.request("commands.agent.a2.set", `{"key":"k","value":1}`); len(r.Header) > 0 {
		t.Errorf("%s", r.Data)
	}
	// Its own commands take effect, but no worker took an answer for a command.
	stream, err := support.JetStream(t, support.Engine(t, s.server)).Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	harness.Must(t, err)
	for subject := range info.State.Subjects {
		if subject != "events.agent.a1.state.k" && subject != "events.agent.a1.conflict.k" && subject != "events.agent.a2.state.k" {
			t.Errorf("the journal holds %s", subject)
		}
	}
}

func TestACommandWithoutReplyIsExecuted(t *testing.T) {
	s := serve(t, "")
	if err := s.client.Publish("commands.agent.a1.set", []byte(`{"key":"k","value":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Publish("commands.agent.a1.set", []byte(`nonsense`)); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the event", func() bool { return len(commandstest.Stored(t, s.entries, events.StateEntry("a1", "k"))) == 1 })
}

// Requests come as soon as the first of the subscriptions is there, also beside other engines.
func TestRequestsBesideAStart(t *testing.T) {
	s := serve(t, "")
	starting, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for starting.Err() == nil {
				if _, err := s.client.Request("commands.agent.a1.get", []byte(`{}`), requestTimeout); err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
			}
		})
	}
	for range 20 {
		another, err := service.Serve(support.Engine(t, s.server), s.config)
		harness.Must(t, err)
		defer func() { _ = another.Stop() }()
	}
	cancel()
	clients.Wait()
}

func TestStopAnswersAcceptedRequests(t *testing.T) {
	s := serve(t, "")
	var wg sync.WaitGroup
	started := make(chan struct{}, 1000)
	lost := make(chan error, 1000)
	for range 40 {
		wg.Go(func() {
			for {
				_, err := s.client.Request("commands.agent.a1.set", []byte(`{"key":"k","value":1,"strategy":"last_write_wins"}`), requestTimeout)
				if errors.Is(err, nats.ErrNoResponders) {
					return
				}
				if err != nil {
					lost <- err
					return
				}
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 100 {
		harness.Receive(t, "an answer", started)
	}
	if err := s.service.Stop(); err != nil {
		t.Error(err)
	}
	s.Close()
	wg.Wait()
	close(lost)
	for err := range lost {
		t.Errorf("a request was lost: %v", err)
	}
}

// A batch whose values are together larger than a message may be is answered without them.
func TestALargeBatchIsAnsweredWithoutValues(t *testing.T) {
	server := support.NATS(t)
	s, err := service.Serve(support.Engine(t, server), service.Config{
		Version: "1.0.0", Identify: server.Authority().Caller, Observe: func(string, string, time.Duration) {}, Log: harness.Log(t),
		Batch: func(_ context.Context, _ string, body []byte, _ func(string) string, done func([]commands.Result, error)) {
			results := make([]commands.Result, len(body))
			for i := range results {
				results[i].Receipt = commands.Receipt{CommandID: "c", Value: `"` + strings.Repeat("v", 256<<10) + `"`}
			}
			done(results, nil)
		},
	})
	harness.Must(t, err)
	defer func() { harness.Must(t, s.Stop()) }()
	client := support.Client(t, server)
	for _, n := range []int{20, 40} {
		m, err := client.Request("commands.batch", make([]byte, n), harness.Patience)
		harness.Must(t, err)
		receipts, values := strings.Count(string(m.Data), `"command_id":"c"`), strings.Count(string(m.Data), `"value":"v`)
		if receipts != n || (n == 20) != (values == n) || (n == 40) != (values == 0) {
			t.Errorf("%d receipts and %d values of %d", receipts, values, n)
		}
	}
}
