package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestNoDetourIntoTheJournal: a client that may not publish on events.> must
// not get others to do it for him: servers and services answer to whatever
// subject a request names, and streams of his own can send messages on.
//
// Each way is gone twice, first towards the journal, then towards a stream of
// the client's own, which shows when it has been gone to its end.
func TestNoDetourIntoTheJournal(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	c.MustSet(t, "honest", "k", 1, nil)
	for _, name := range []string{"DETOUR", "MINE"} {
		_, err := c.JS.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: name, Subjects: []string{strings.ToLower(name) + ".>"}, AllowDirect: true})
		harness.Must(t, err)
	}
	_, err := c.JS.Publish(t.Context(), "mine.a", []byte(forged))
	harness.Must(t, err)

	request := func(subject, body string) func(*testing.T, string) {
		return func(t *testing.T, to string) { harness.Must(t, c.PublishRequest(subject, to, []byte(body))) }
	}
	for _, way := range []struct {
		name string
		walk func(t *testing.T, to string)
	}{
		{"answer to $SRV.PING", request("$SRV.PING", "")},
		{"answer to $SRV.INFO.tidemark", request("$SRV.INFO.tidemark", "")},
		{"answer to $SRV.STATS.tidemark", request("$SRV.STATS.tidemark", "")},
		{"answer of the JetStream API", request("$JS.API.STREAM.INFO.MINE", "")},
		{"answer to a direct get", request("$JS.API.DIRECT.GET.MINE", `{"seq":1}`)},
		{"acknowledgement of a stream", request("mine.b", "x")},
		{"acknowledgement of a bucket", request("$KV.AGENT_STATE.detour.k", "x")},
		{"pull from a consumer", func(t *testing.T, to string) {
			_, err := c.JS.CreateOrUpdateConsumer(t.Context(), "MINE", jetstream.ConsumerConfig{Durable: "pull", AckPolicy: jetstream.AckNonePolicy})
			harness.Must(t, err)
			harness.Must(t, c.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.MINE.pull", to, nil))
		}},
		{"delivery of a push consumer", func(t *testing.T, to string) {
			interest, err := c.SubscribeSync(to)
			harness.Must(t, err)
			defer func() { _ = interest.Unsubscribe() }()
			name := "push" + strings.ReplaceAll(to, ".", "-")
			body := fmt.Sprintf(`{"stream_name":"MINE","config":{"name":%q,"deliver_subject":%q,"ack_policy":"none","deliver_policy":"all"}}`, name, to)
			_, err = c.RequestWithContext(bounded(t), "$JS.API.CONSUMER.CREATE.MINE."+name, []byte(body))
			harness.Must(t, err)
			_, _ = interest.NextMsg(2 * time.Second) // it is refused where all is well
		}},
		{"republished by a stream", func(t *testing.T, to string) {
			root, _, _ := strings.Cut(to, ".")
			name := "SENDON" + root
			_, err := c.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"},
				RePublish: &jetstream.RePublish{Source: name + ".>", Destination: root + ".>"}})
			if err != nil {
				return // refused
			}
			_, err = c.JS.Publish(t.Context(), name+strings.TrimPrefix(to, root), []byte(forged))
			harness.Must(t, err)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			before := journalEnd(t, c)
			way.walk(t, "events.agent.forged.state.k")
			way.walk(t, "detour.agent.forged.state.k")
			arrives(t, c)
			for _, what := range foreign(t, c, before) {
				t.Error(what)
			}
		})
	}
	if got, err := c.Get(t.Context(), "forged", "k", harness.M{"consistency": "strong"}); err == nil {
		t.Errorf("a forged event is shown as the truth: %+v", got)
	}
}

// TestHotViewCannotBeForged: clients may get and watch the buckets (wire
// contract, section 4). What one of them writes there is no state.
func TestHotViewCannotBeForged(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	c.MustSet(t, "victim", "k", "true", nil)
	c.CaughtUp(t)
	row := `{"value":"forged","timestamp":"2025-01-01T00:00:00Z","agent_id":"victim","version":1000,"revision":1000000,"digest":"00"}`
	for _, key := range []string{"victim.k", "victim.new"} {
		harness.Must(t, c.Publish("$KV.AGENT_STATE."+key, []byte(row))) // no reply when it is refused
	}
	harness.Must(t, c.FlushTimeout(5*time.Second))
	r := c.MustSet(t, "victim", "k", "newer", nil)
	for _, consistency := range []string{"hot", "cached"} {
		if got := c.MustGet(t, "victim", "k", harness.M{"token": r.Token, "consistency": consistency}); string(got.Value) != `"newer"` {
			t.Errorf("get %s answers %s", consistency, got.Value)
		}
		if got, err := c.Get(t.Context(), "victim", "new", harness.M{"consistency": consistency}); err == nil {
			t.Errorf("get %s of what was never set answers %s", consistency, got.Value)
		}
	}
	c.CheckAll(t)
}

// arrives returns when a message has come to DETOUR, and empties it. A route on
// which none comes within a second is closed.
func arrives(t *testing.T, c *harness.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s, err := c.JS.Stream(t.Context(), "DETOUR")
	harness.Must(t, err)
	consumer, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	harness.Must(t, err)
	defer func() { harness.Must(t, s.DeleteConsumer(t.Context(), consumer.CachedInfo().Name)) }()
	it, err := consumer.Messages()
	harness.Must(t, err)
	defer it.Stop()
	if _, err := it.Next(jetstream.NextContext(ctx)); err == nil {
		harness.Must(t, s.Purge(t.Context()))
	}
	harness.Must(t, c.FlushTimeout(5*time.Second))
}

// forged is a well-formed event.
const forged = `{"type":"agent.state_set","aggregate":"agent","id":"forged","key":"k","version":1,` +
	`"timestamp":"2025-01-01T00:00:00Z","recorded_at":"2025-01-01T00:00:00Z","writer":"mallory","command_id":"forged",` +
	`"data":{"value":"forged","strategy":"last_write_wins","request":""},"schema":1,` +
	`"digest":"0000000000000000000000000000000000000000000000000000000000000000"}`
