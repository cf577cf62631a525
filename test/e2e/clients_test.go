package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestPlainClients: a client of the embedded server may create its own streams
// and consumers. It may not write to the journal and may not manage it.
func TestPlainClients(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	for _, part := range []struct {
		name string
		test func(*testing.T, *harness.Engine)
	}{
		{"own streams", ownStreams},
		{"no publish", noPublish},
		{"no management", noManagement},
		{"reply subjects", replySubjects},
		{"headers", clientHeaders},
		{"raw headers", rawHeaders},
		{"consumers deleted", consumersDeleted},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, e) })
	}
	e.Client(t).CheckAll(t)
	e.Verify()
}

func ownStreams(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	s, err := c.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: "NOTES", Subjects: []string{"notes.>"}})
	harness.Must(t, err)
	_, err = c.JS.Publish(t.Context(), "notes.a", []byte("mine"))
	harness.Must(t, err)
	fetch := func(from jetstream.Consumer) string {
		t.Helper()
		msg, err := from.Next(jetstream.FetchMaxWait(5 * time.Second))
		harness.Must(t, err)
		return string(msg.Data())
	}
	own, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "reader"})
	harness.Must(t, err)
	if got := fetch(own); got != "mine" {
		t.Errorf("the own stream holds %q", got)
	}
	// A client may read the journal.
	r := c.MustSet(t, "followed", "k", 1, nil)
	events, err := c.JS.CreateConsumer(t.Context(), "EVENTS", jetstream.ConsumerConfig{FilterSubject: "events.agent.followed.state.>"})
	harness.Must(t, err)
	if got := fetch(events); !strings.Contains(got, r.CommandID) {
		t.Errorf("a consumer on the journal shows %s", got)
	}
	harness.Must(t, c.JS.DeleteConsumer(t.Context(), "EVENTS", events.CachedInfo().Name))
	harness.Must(t, c.JS.DeleteStream(t.Context(), "NOTES"))
}

// journalEnd returns the last revision of the journal.
func journalEnd(t *testing.T, c *harness.Client) uint64 {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	return s.CachedInfo().State.LastSeq
}

// foreign returns the events after a revision that no command of a test
// explains: the agents x and forged receive no command.
func foreign(t *testing.T, c *harness.Client, after uint64) (found []string) {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	for at := after + 1; at <= s.CachedInfo().State.LastSeq; at++ {
		msg, err := s.GetMsg(t.Context(), at)
		harness.Must(t, err)
		parts := strings.Split(msg.Subject, ".")
		var ev struct{ Type, Digest string }
		if err := json.Unmarshal(msg.Data, &ev); err != nil || ev.Type == "" || ev.Digest == "" || len(parts) < 3 ||
			parts[0] != "events" || parts[2] == "x" || parts[2] == "forged" {
			found = append(found, fmt.Sprintf("the journal holds on %s, revision %d: %.200s", msg.Subject, at, msg.Data))
		}
	}
	return found
}

func noPublish(t *testing.T, e *harness.Engine) {
	broken := make(chan error, 100)
	c := e.Client(t, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { broken <- err }))
	before := journalEnd(t, c)
	j, err := c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	intake := strings.TrimSuffix(j.CachedInfo().Config.Subjects[0], ">")
	for _, subject := range []string{"events.agent.x.state.y", "events.x", "events.agent.x.conflict.y", intake + "agent.x.state.y"} {
		harness.Must(t, c.Publish(subject, []byte(`{}`)))
		refusedPublish(t, broken, subject)
	}
	batch := nats.NewMsg("events.agent.x.state.y")
	batch.Header = nats.Header{"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}}
	harness.Must(t, c.PublishMsg(batch))
	refusedPublish(t, broken, batch.Subject)
	for _, what := range foreign(t, c, before) {
		t.Error(what)
	}
}

func noManagement(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	r := c.MustSet(t, "managed", "k", 1, nil)
	s, err := c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	was := s.CachedInfo()
	subjects := was.Config.Subjects
	was.Config.MaxMsgs, was.Config.Subjects = 1, []string{"elsewhere.>"}
	changed, err := json.Marshal(was.Config)
	harness.Must(t, err)
	for _, request := range []struct{ api, body string }{
		{"STREAM.DELETE.EVENTS", ""},
		{"STREAM.PURGE.EVENTS", ""},
		{"STREAM.UPDATE.EVENTS", string(changed)},
		{"STREAM.CREATE.EVENTS", string(changed)},
		{"STREAM.MSG.DELETE.EVENTS", fmt.Sprintf(`{"seq":%d}`, r.Revision)},
		{"STREAM.RESTORE.EVENTS", "{}"},
		{"STREAM.LEADER.STEPDOWN.EVENTS", ""},
	} {
		subject := "$JS.API." + request.api
		answer, err := c.RequestWithContext(bounded(t), subject, []byte(request.body))
		if err != nil || !strings.Contains(string(answer.Data), `"code":403`) {
			t.Errorf("%s: %+v %v", subject, answer, err)
		}
	}
	// The same through the functions of the client library.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := s.Purge(ctx); err == nil {
		t.Error("the journal could be purged")
	}
	s, err = c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	now := s.CachedInfo()
	if now.Created != was.Created || now.State.Msgs < was.State.Msgs || now.State.NumDeleted > 0 || !slices.Equal(now.Config.Subjects, subjects) {
		t.Errorf("the journal is another one: %+v", now)
	}
}

// replySubjects: a reply of the engine cannot write to the journal. The reply
// to the last request shows that the engine has processed the earlier ones.
func replySubjects(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	before := journalEnd(t, c)
	for _, reply := range []string{
		"events.agent.x.state.y", "$JS.API.STREAM.PURGE.EVENTS", "$KV.AGENT_STATE.x.y", "agents.state.x.y", "enqueue.agent.x.set",
		"commands.agent.x.set", "outcomes.x", "timers.due.x", "lanes.0.x",
	} {
		harness.Must(t, c.PublishRequest("commands.agent.replies.set", reply, []byte(`{"key":"k","value":1}`)))
		harness.Must(t, c.PublishRequest("commands.agent.replies.set", reply, []byte(`{"nonsense":1}`)))
		harness.Must(t, c.PublishRequest("queries.engine.status", reply, nil))
	}
	r := c.MustSet(t, "replies", "k", "after", nil)
	for _, what := range foreign(t, c, before) {
		t.Error(what)
	}
	c.CaughtUp(t)
	if row, ok := c.KV(t)["x.y"]; ok {
		t.Errorf("the bucket holds a forged row %s", row)
	}
	if r.Version == 0 || journalEnd(t, c) < r.Revision {
		t.Error("the journal was purged")
	}
}

// clientHeaders: headers of a command message never become headers of a journal
// message.
func clientHeaders(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	version := uint64(0)
	for _, h := range []nats.Header{
		{"Nats-Expected-Stream": {"OTHER"}},
		{"Nats-Expected-Last-Sequence": {"99999"}},
		{"Nats-Expected-Last-Subject-Sequence": {"99999"}},
		{"Nats-Expected-Last-Subject-Sequence-Subject": {"events.agent.>"}},
		{"Nats-Expected-Last-Msg-Id": {"nobody"}},
		{"Nats-Rollup": {"all"}},
		{"Nats-Rollup": {"sub"}},
		{"Nats-TTL": {"1s"}},
		{"Nats-Marker-Reason": {"MaxAge"}},
		{"KV-Operation": {"PURGE"}},
		{"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}},
		{"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"2"}, "Nats-Batch-Commit": {"1"}},
		{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {"events.agent.x.state.y"}},
		{"Nats-Service-Error": {"no"}, "Nats-Service-Error-Code": {"500"}},
		{"Tidemark-Position": {"x 0=999999"}, "Tidemark-Revision": {"999999"}},
		{"Nats-Msg-Id": {"id-of-mine"}, "nats-msg-id": {"id-of-mine"}},
		{"traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}},
	} {
		answer, err := c.Ask(t.Context(), &nats.Msg{Subject: "commands.agent.headers.set", Header: h,
			Data: []byte(`{"key":"k","value":1,"strategy":"last_write_wins"}`)})
		var r harness.Receipt
		if err == nil {
			err = json.Unmarshal(answer, &r)
		}
		if err != nil || r.Version != version+1 {
			t.Errorf("with %v: %+v %v", h, r, err)
		}
		version = r.Version
		s, err := c.JS.Stream(t.Context(), "EVENTS")
		harness.Must(t, err)
		stored, err := s.GetMsg(t.Context(), r.Revision)
		harness.Must(t, err)
		for name := range stored.Header {
			switch name {
			case "Nats-Msg-Id", "Nats-Expected-Last-Subject-Sequence": // set by the engine
			case "Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp": // of the direct get (ADR-31)
			default:
				t.Errorf("with %v the event is stored with %s: %v", h, name, stored.Header[name])
			}
		}
		if strings.Contains(stored.Header.Get("Nats-Msg-Id"), "id-of-mine") {
			t.Errorf("the client chose the journal's message id: %v", stored.Header)
		}
	}
	// A line break in an id cannot add a second header.
	for _, id := range []string{"a\r\nNats-Rollup: all", "a\nb", "a\rb", "\r\n\r\n{}", strings.Repeat("x", 10_000)} {
		_, err := c.Command(t.Context(), "commands.agent.headers.set", id, `{"key":"k","value":2}`)
		if no := harness.Refused(err); no == nil || no.Status != 400 || no.Code != "id.invalid" {
			t.Errorf("the id %.40q: %v", id, err)
		}
	}
	if got := c.MustGet(t, "headers", "k", harness.M{"consistency": "strong"}); got.Version != version || string(got.Value) != "1" {
		t.Errorf("afterwards: %+v", got)
	}
}

// rawHeaders sends header blocks that no client library would send; the engine
// must survive them.
func rawHeaders(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	before := c.MustSet(t, "raw", "k", 0, nil)
	for _, block := range []string{
		"NATS/1.0\r\nNats-Msg-Id: a\r\nNats-Rollup: all\r\n\r\n",
		"NATS/1.0\r\nNats-Msg-Id: a\nb\r\n\r\n",
		"NATS/1.0\r\nNats-Msg-Id\r\n\r\n",
		"NATS/1.0\r\n: empty\r\n\r\n",
		"NATS/1.0 503\r\n\r\n",
		"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"NATS/1.0\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n",
		"NATS/1.0\r\nNats-Msg-Id: \x00\xff\r\n\r\n",
		"\r\n\r\n",
	} {
		publishRaw(t, e, block, "commands.agent.raw.set", `{"key":"k","value":1,"strategy":"last_write_wins"}`)
	}
	after := c.MustSet(t, "raw", "k", 2, harness.M{"strategy": "last_write_wins"})
	if after.Version <= before.Version {
		t.Errorf("the version went from %d to %d", before.Version, after.Version)
	}
}

// publishRaw speaks the NATS protocol over a socket and returns when the server
// has processed the message.
func publishRaw(t *testing.T, e *harness.Engine, header, subject, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.NATSURL, "nats://"))
	harness.Must(t, err)
	defer conn.Close()
	harness.Must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB _INBOX.raw 1\r\nHPUB %s _INBOX.raw %d %d\r\n%s%s\r\nPING\r\n",
		subject, len(header), len(header)+len(body), header, body)
	harness.Must(t, err)
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "PONG") || strings.HasPrefix(line, "-ERR") {
			return // accepted, or refused and disconnected: both are right
		}
	}
}

// consumersDeleted: a client tries to delete consumers, also those that the engine
// reads its journal with. The views continue.
func consumersDeleted(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	s, err := c.JS.Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	var names []string
	list := s.ConsumerNames(t.Context())
	for name := range list.Name() {
		names = append(names, name)
	}
	harness.Must(t, list.Err())
	for _, name := range names {
		var refused *jetstream.APIError
		if err := s.DeleteConsumer(t.Context(), name); !errors.As(err, &refused) || refused.Code != 403 {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	r := c.MustSet(t, "after", "k", 1, nil)
	for _, consistency := range []string{"hot", "durable", "cached"} {
		if got, err := c.Get(t.Context(), "after", "k", harness.M{"consistency": consistency, "token": r.Token, "wait_ms": 60000}); err != nil {
			t.Errorf("get %s: %+v %v", consistency, got, err)
		}
	}
	c.CaughtUp(t)
}
