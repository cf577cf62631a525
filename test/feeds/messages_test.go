package feeds

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestMessages: a message is published once, unchanged, acknowledged, and
// stored in SQL; a malformed one is refused.
func TestMessages(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	id := harness.NewID()
	direct := `{"to":"bob","body":{"b": 1, "a": 1.50}}`
	first, err := c.Command(t.Context(), "commands.message.ann.direct", id, direct)
	if err != nil || first.Outcome != "accepted" || first.Aggregate != "message" || first.ID != "ann" || first.Version != 1 || first.Token == "" {
		t.Fatalf("%+v %v", first, err)
	}
	again, err := c.Command(t.Context(), "commands.message.ann.direct", id, direct)
	if want := first; err != nil || !again.Replayed || again.Revision != want.Revision {
		t.Errorf("again: %+v %v", again, err)
	}
	_, err = c.Command(t.Context(), "commands.message.ann.direct", id, `{"to":"bob","body":2}`)
	harness.WantRefusal(t, "a command", err, 409, "command.id_reused")
	// A message id belongs to one sender.
	if r, err := c.Command(t.Context(), "commands.message.bob.direct", id, direct); err != nil || r.Replayed || r.Version != 1 {
		t.Errorf("bob's: %+v %v", r, err)
	}
	c.MustDo(t, "message.ann.broadcast", harness.M{"body": "all"})
	c.MustDo(t, "message.ann.notify", harness.M{"type": "alarm", "body": nil})
	if r := c.MustDo(t, "agent.ann.heartbeat", harness.M{"status": "busy"}); r.Token == "" {
		t.Errorf("a receipt without a token: %+v", r)
	}
	refusals(t, c)

	c.CaughtUp(t)
	all := slices.DeleteFunc(stream(t, c, "AGENT_MESSAGES", ">"), message.isMarker)
	var subjects []string
	for _, h := range all {
		subjects = append(subjects, h.Subject)
	}
	if got := strings.Join(subjects, " "); got != "messages.direct.ann.bob messages.direct.bob.bob messages.broadcast.ann messages.notification.alarm" {
		t.Errorf("published: %s", got)
	}
	if prefix := `{"message_id":"` + id + `","kind":"direct","from":"ann","to":"bob","body":{"b": 1, "a": 1.50},"sent_at":"`; !strings.HasPrefix(string(all[0].Raw), prefix) {
		t.Errorf("on the wire: %s", all[0].Raw)
	}
	beats := stream(t, c, "AGENT_STATE", "agents.heartbeat.>")
	if len(beats) != 1 || beats[0].Subject != "agents.heartbeat.ann" || beats[0].Body["status"] != "busy" {
		t.Errorf("heartbeats: %+v", beats)
	}
	var got string
	harness.Must(t, c.SQL(t).QueryRow(t.Context(), `SELECT string_agg(concat_ws(' ', kind, sender, recipient, type, body_text, message_id = $1), '; ' ORDER BY sequence)
		FROM agents.messages`, id).Scan(&got))
	if want := `direct ann bob {"b": 1, "a": 1.50} t; direct bob bob {"b": 1, "a": 1.50} t; broadcast ann "all" f; notification ann alarm null f`; got != want {
		t.Errorf("SQL has %s\nwant    %s", got, want)
	}
}

func refusals(t *testing.T, c *harness.Client) {
	for _, r := range []struct {
		subject, body string
		status        int
		code          string
	}{
		{"message.ann.direct", `{"body":1}`, 400, "body.missing_field"},
		{"message.ann.direct", `{"to":"a.b","body":1}`, 400, "id.invalid"},
		{"message.ann.direct", `{"to":"kv","body":1}`, 400, "id.invalid"},
		{"message.kv.broadcast", `{"body":1}`, 400, "id.invalid"},
		{"message.ann.direct", `{"to":"bob"}`, 400, "body.missing_field"},
		{"message.ann.broadcast", `{"to":"bob","body":1}`, 400, "body.unknown_field"},
		{"message.ann.broadcast", `{"type":"x","body":1}`, 400, "body.unknown_field"},
		{"message.ann.notify", `{"type":"*","body":1}`, 400, "id.invalid"},
		{"message.ann.notify", `{"type":"x","body":1,"at":2}`, 400, "body.unknown_field"},
		{"message.ann.direct", `{"to":"bob","body":"\u0000"}`, 400, "json.invalid"},
		{"message.ann.direct", `{"to":"bob","body":"` + strings.Repeat("x", 256<<10) + `"}`, 413, "value.too_large"},
		{"message.ann.direct", `{"to":"bob","body":"` + strings.Repeat("x", 256<<10-10) + `"}`, 413, "message.too_large"},
		{"message.ann.shout", `{"body":1}`, 404, "command.unknown"},
		{"agent.kv.heartbeat", ``, 400, "id.invalid"},
		{"agent.ann.heartbeat", `{"mood":1}`, 400, "body.unknown_field"},
	} {
		_, err := c.Command(t.Context(), "commands."+r.subject, "", r.body)
		harness.WantRefusal(t, "a command", err, r.status, r.code)
	}
	_, err := c.Query(t.Context(), "commands.batch", harness.M{"atomic": true, "commands": []harness.M{
		{"subject": "commands.agent.ann.heartbeat", "body": harness.M{}},
	}})
	harness.WantRefusal(t, "a command", err, 422, "batch.not_atomic")
}

// TestMessageOrder: messages of one sender are published in the order of
// sending. The view stores all of them in batches of a hundred, also those
// under way when the engine stops.
func TestMessageOrder(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	inbox := c.NewInbox()
	replies, err := c.SubscribeSync(inbox)
	harness.Must(t, err)
	const each, atOnce = 150, 30
	for first := 0; first < each; first += atOnce { // a longer queue may take more than the time of a command
		for i := first; i < first+atOnce; i++ { // without waiting for an answer
			for s := range 10 {
				msg := fmt.Appendf(nil, `{"to":"r","body":%d}`, i)
				harness.Must(t, c.PublishRequest(fmt.Sprintf("commands.message.s%d.direct", s), inbox, msg))
			}
		}
		for range 10 * atOnce {
			reply, err := replies.NextMsg(20 * time.Second)
			harness.Must(t, err)
			if reply.Header.Get("Nats-Service-Error-Code") != "" {
				t.Errorf("%s", reply.Data)
			}
		}
	}
	e.Stop()
	e.Restart()
	c = e.Client(t)
	rows, err := c.SQL(t).Query(t.Context(), `SELECT sender, array_agg(body::int ORDER BY sequence) FROM agents.messages GROUP BY sender`)
	harness.Must(t, err)
	n := 0
	var sender string
	var bodies []int
	_, err = pgx.ForEachRow(rows, []any{&sender, &bodies}, func() error {
		n++
		for i, b := range bodies {
			if i != b || len(bodies) != each {
				return fmt.Errorf("%s: message %d of %d is %d", sender, i, len(bodies), b)
			}
		}
		return nil
	})
	if harness.Must(t, err); n != 10 {
		t.Errorf("%d senders", n)
	}
}

// TestForeignMessages: what a client publishes on the feed reaches its subscribers and no
// inbox.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c, js := e.Client(t), e.OperatorJetStream(t)
	_, err := js.Publish(t.Context(), "messages.broadcast.a", []byte(`{"message_id":"m1","kind":"broadcast","from":"a","body":1,"sent_at":"2026-01-02T03:04:05Z"}`))
	harness.Must(t, err)
	c.MustDo(t, "message.b.broadcast", harness.M{"body": 2})
	c.CaughtUp(t)
	if got := inbox(t, c, "r"); len(got) != 1 || got[0] != "b 2" {
		t.Errorf("the inbox has %q", got)
	}
}

// inbox reads the whole inbox of an agent, oldest first.
func inbox(t *testing.T, c *harness.Client, agent string) (all []string) {
	t.Helper()
	cursor := ""
	for {
		var page struct {
			Messages []struct {
				From string          `json:"from"`
				Body json.RawMessage `json:"body"`
			} `json:"messages"`
			Cursor string `json:"cursor"`
		}
		harness.Eventually(t, "the inbox answers", func() error {
			answer, err := c.Query(t.Context(), "queries.message."+agent+".inbox", harness.M{"limit": 1000, "cursor": cursor})
			if err == nil {
				err = json.Unmarshal(answer, &page)
			}
			return err
		})
		for _, m := range page.Messages {
			all = append(all, m.From+" "+string(m.Body))
		}
		if cursor = page.Cursor; cursor == "" {
			slices.Reverse(all)
			return all
		}
	}
}

// TestMessagesKilled: every message that was acknowledged right before kill -9 of the engine,
// with the server in it, is in the inbox once, also if Postgres was away all the time. An id
// is known after the duplicate window, and after a restart, in which the feed is lost.
func TestMessagesKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(harness.TempDir(t), "postgres")
	start := func() *local.Server {
		s, err := local.Start(context.Background(), local.Config{Dir: dir, Log: harness.Log(t)})
		harness.Must(t, err)
		return s
	}
	server := start()
	defer func() { harness.Must(t, server.Stop(context.Background())) }()
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", server.SocketURL()}})
	c := e.Client(t)
	c.CaughtUp(t)
	old, bodies := ulid.MustNew(ulid.Timestamp(time.Now().Add(-time.Hour)), rand.Reader).String(), map[string]bool{}
	send := func(from, to int) {
		t.Helper()
		replies, err := c.SubscribeSync(c.NewInbox())
		harness.Must(t, err)
		for i := from; i < to; i++ {
			bodies[fmt.Sprint("s ", i)] = true
			harness.Must(t, c.PublishRequest("commands.message.s.direct", replies.Subject, fmt.Appendf(nil, `{"to":"r","body":%d}`, i)))
		}
		for range to - from {
			reply, err := replies.NextMsg(harness.Patience)
			harness.Must(t, err)
			if reply.Header.Get("Nats-Service-Error-Code") != "" {
				t.Errorf("%s", reply.Data)
			}
		}
	}
	first, err := c.Command(t.Context(), "commands.message.old.direct", old, `{"to":"r","body":"once"}`)
	harness.Must(t, err)
	bodies[`old "once"`] = true
	send(0, 300)
	e.Kill()
	e.Restart()
	c = e.Client(t)
	c.CaughtUp(t)
	complete(t, "killed", inbox(t, c, "r"), bodies)
	harness.Must(t, server.Stop(context.Background()))
	send(300, 600)
	e.Kill()
	server = start()
	e.Restart()
	c = e.Client(t)
	c.CaughtUp(t)
	complete(t, "killed without SQL", inbox(t, c, "r"), bodies)
	again, err := c.Command(t.Context(), "commands.message.old.direct", old, `{"to":"r","body":"once"}`)
	if want := first; err != nil || !again.Replayed || again.Revision != want.Revision || again.Token != want.Token {
		t.Errorf("an old id again: %+v, %v, first %+v", again, err, first)
	}
	_, err = c.Command(t.Context(), "commands.message.old.broadcast", old, `{"body":"once"}`)
	harness.WantRefusal(t, "an old id for another message", err, 409, "command.id_reused")
	complete(t, "sent again", inbox(t, c, "r"), bodies)
}

// complete checks that an inbox has each body once.
func complete(t *testing.T, when string, got []string, bodies map[string]bool) {
	t.Helper()
	seen := map[string]int{}
	for _, body := range got {
		if seen[body]++; !bodies[body] || seen[body] > 1 {
			t.Errorf("%s: %s is there %d times", when, body, seen[body])
		}
	}
	if len(seen) != len(bodies) {
		t.Errorf("%s: %d of %d acknowledged messages are in the inbox", when, len(seen), len(bodies))
	}
}

// TestMessagesWithoutSQL: while Postgres is unavailable messages stay in their
// stream and status reports them; later they are stored. Two engines share the
// work.
func TestMessagesWithoutSQL(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(harness.TempDir(t), "postgres")
	start := func() *local.Server {
		s, err := local.Start(context.Background(), local.Config{Dir: dir, Log: harness.Log(t)})
		harness.Must(t, err)
		return s
	}
	server := start()
	stop := func() { harness.Must(t, server.Stop(context.Background())) }
	nats := support.PlainNATS(t)
	first := harness.Start(t, harness.Config{Args: []string{"--postgres", server.SocketURL(), "--nats", nats}})
	first.NATSURL = nats
	c := first.Client(t)
	second := harness.Start(t, harness.Config{Args: []string{"--postgres", server.SocketURL(), "--nats", nats}})
	second.NATSURL = nats
	c.CaughtUp(t)
	stop()
	for i := range 250 {
		c.MustDo(t, "message.s.direct", harness.M{"to": "r", "body": i})
	}
	harness.Eventually(t, "status says that messages wait", func() error {
		s, err := c.Status(t.Context())
		if v := s.View("messages"); err != nil || v.LagEvents == 0 {
			return fmt.Errorf("%+v %v", v, err)
		}
		return nil
	})
	server = start()
	defer stop()
	harness.Eventually(t, "all are stored", func() error {
		conn, err := pgx.Connect(t.Context(), server.SocketURL())
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM agents.messages`).Scan(&n); err != nil || n != 250 {
			return fmt.Errorf("%d of 250 %v", n, err)
		}
		return nil
	})
	c.CaughtUp(t)
	consumer, err := c.JS.Consumer(t.Context(), "AGENT_MESSAGES", "message-batch-processor")
	harness.Must(t, err)
	cfg := consumer.CachedInfo().Config
	if cfg.AckPolicy != jetstream.AckExplicitPolicy || cfg.AckWait != time.Minute || cfg.MaxDeliver != 5 ||
		cfg.MaxRequestBatch != 100 || cfg.MaxRequestExpires != 30*time.Second || cfg.MaxRequestMaxBytes != 1<<20 {
		b, _ := json.Marshal(cfg)
		t.Errorf("message-batch-processor is %s", b)
	}
	second.Stop()
}
