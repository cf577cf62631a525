package feeds

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

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
	if err != nil || first.Outcome != "accepted" || first.Aggregate != "message" || first.ID != "ann" || first.Version != 1 || first.Revision != 1 {
		t.Fatalf("%+v %v", first, err)
	}
	again, err := c.Command(t.Context(), "commands.message.ann.direct", id, direct)
	if want := first; err != nil || !again.Replayed || again.Revision != want.Revision {
		t.Errorf("again: %+v %v", again, err)
	}
	_, err = c.Command(t.Context(), "commands.message.ann.direct", id, `{"to":"bob","body":2}`)
	harness.WantRefusal(t, "a command", err, 409, "command.id_reused")
	// A message id belongs to one sender.
	if r, err := c.Command(t.Context(), "commands.message.bob.direct", id, direct); err != nil || r.Replayed || r.Revision != 2 {
		t.Errorf("bob's: %+v %v", r, err)
	}
	c.MustDo(t, "message.ann.broadcast", harness.M{"body": "all"})
	c.MustDo(t, "message.ann.notify", harness.M{"type": "alarm", "body": nil})
	c.MustDo(t, "agent.ann.heartbeat", harness.M{"status": "busy"})
	refusals(t, c)

	all := stream(t, c, "AGENT_MESSAGES", ">")
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
	if len(c.Journal(t)) > 2 { // a heartbeat may hydrate its agent
		t.Error("messages are in the journal")
	}
	c.CaughtUp(t)
	var got string
	harness.Must(t, c.SQL(t).QueryRow(t.Context(), `SELECT string_agg(concat_ws(' ', kind, sender, recipient, type, body_text, sequence), '; ' ORDER BY sequence)
		FROM agents.messages`).Scan(&got))
	if want := `direct ann bob {"b": 1, "a": 1.50} 1; direct bob bob {"b": 1, "a": 1.50} 2; broadcast ann "all" 3; notification ann alarm null 4`; got != want {
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
		{"subject": "commands.message.ann.broadcast", "body": harness.M{"body": 1}},
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

// TestForeignMessages: the view stores only messages of its own form; other
// messages on the stream do not stop it.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c, js := e.Client(t), e.OperatorJetStream(t)
	good := `{"message_id":"m1","kind":"broadcast","from":"a","body":1,"sent_at":"2026-01-02T03:04:05Z"}`
	for subject, bodies := range map[string][]string{
		"messages.broadcast.a":  {good, good, "", "no JSON", `{"message_id":"m"}`, strings.Replace(good, "1,", `"\u0000",`, 1), `[1]`},
		"messages.broadcast.b":  {good},
		"messages.direct.a.b.c": {good},
	} {
		for _, body := range bodies {
			_, err := js.Publish(t.Context(), subject, []byte(body))
			harness.Must(t, err)
		}
	}
	c.CaughtUp(t)
	var n int
	harness.Must(t, c.SQL(t).QueryRow(t.Context(), `SELECT count(*) FROM agents.messages WHERE sender = 'a' AND message_id = 'm1'`).Scan(&n))
	if n != 1 {
		t.Errorf("%d rows of the good one", n)
	}
	harness.Must(t, c.SQL(t).QueryRow(t.Context(), `SELECT count(*) FROM agents.messages`).Scan(&n))
	if n != 1 {
		t.Errorf("%d rows in all", n)
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
