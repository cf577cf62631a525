package embedded_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

const patience = 10 * time.Second

// journalled is a server with a journal, seen by the engine.
func journalled(t *testing.T) (client *nats.Conn, j *journal.Journal, stream jetstream.Stream) {
	t.Helper()
	s := support.NATS(t)
	engine := support.Engine(t, s)
	j, err := journal.Open(t.Context(), engine, journal.Config{})
	harness.Must(t, err)
	stream, err = support.JetStream(t, engine).Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	return support.Client(t, s), j, stream
}

// own is a stream that a client may make (contract, section 7).
func own(t *testing.T, client *nats.Conn, cfg jetstream.StreamConfig) jetstream.JetStream {
	t.Helper()
	js := support.JetStream(t, client)
	cfg.Name, cfg.Subjects, cfg.AllowDirect = "OWN", []string{"own.>"}, true
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return js
}

func TestClientsWorkWithStreamsOfTheirOwn(t *testing.T) {
	client, _, _ := journalled(t)
	js := own(t, client, jetstream.StreamConfig{})
	if _, err := js.Publish(t.Context(), "own.a", []byte("x")); err != nil {
		t.Error(err)
	}
	c, err := js.CreateConsumer(t.Context(), "OWN", jetstream.ConsumerConfig{})
	harness.Must(t, err)
	if msg, err := c.Next(); err != nil || string(msg.Data()) != "x" {
		t.Errorf("%v, %v", msg, err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "MINE"})
	harness.Must(t, err)
	if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
		t.Error(err)
	}
	if _, err := js.Stream(t.Context(), "EVENTS"); err != nil {
		t.Errorf("the journal may be read: %v", err)
	}
}

// A client may answer a request of another one with any number of messages, and any number of
// requests with one reply subject.
func TestClientsAnswerEachOther(t *testing.T) {
	s := support.NATS(t)
	responder, client := support.Client(t, s), support.Client(t, s)
	const answers = 12_000
	_, err := responder.Subscribe("own.service", func(m *nats.Msg) {
		for range answers {
			_ = m.Respond(m.Data) // a refusal shows as a missing answer
		}
	})
	harness.Must(t, err)
	harness.Must(t, responder.Flush())
	inbox := client.NewInbox()
	sub, err := client.SubscribeSync(inbox)
	harness.Must(t, err)
	for range 2 {
		harness.Must(t, client.PublishRequest("own.service", inbox, []byte("x")))
		for n := range answers {
			if _, err := sub.NextMsg(patience); err != nil {
				t.Fatalf("answer %d: %v", n, err)
			}
		}
	}
}

// Whatever a client has published under events.>, or has others publish there,
// the journal holds what the engine appended (contract, section 3).
func TestClientsCannotForgeEvents(t *testing.T) {
	const root = "events."
	body := []byte(`{"forged":true}`)
	for way, try := range map[string]func(*testing.T, *nats.Conn){
		"by publishing": func(t *testing.T, nc *nats.Conn) { harness.Must(t, nc.Publish(root+"agent.a1.state.k", body)) },
		"by publishing at the intake": func(t *testing.T, nc *nats.Conn) {
			harness.Must(t, nc.Publish(support.Intake(t, nc, "EVENTS")+"agent.a1.state.k", body))
		},
		"as the reply of the JetStream API": func(t *testing.T, nc *nats.Conn) {
			harness.Must(t, nc.PublishRequest("$JS.API.INFO", root+"agent.a1.state.k", nil))
		},
		"as the reply of a direct get": func(t *testing.T, nc *nats.Conn) {
			js := own(t, nc, jetstream.StreamConfig{})
			if _, err := js.Publish(t.Context(), "own.a", body); err != nil {
				t.Fatal(err)
			}
			harness.Must(t, nc.PublishRequest("$JS.API.DIRECT.GET.OWN", root+"agent.a1.state.k", []byte(`{"seq":1}`)))
		},
		"as the ack of a publish": func(t *testing.T, nc *nats.Conn) {
			own(t, nc, jetstream.StreamConfig{})
			harness.Must(t, nc.PublishRequest("own.a", root+"agent.a1.state.k", body))
		},
		"by a stream that republishes": func(t *testing.T, nc *nats.Conn) {
			js := support.JetStream(t, nc)
			_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
				Name: "OWN", Subjects: []string{"own.>"}, RePublish: &jetstream.RePublish{Source: "own.>", Destination: root + ">"}})
			if err == nil {
				_, err = js.Publish(t.Context(), "own.agent.a1.state.k", body)
				harness.Must(t, err)
			}
		},
		"by a consumer that delivers": func(t *testing.T, nc *nats.Conn) {
			js := own(t, nc, jetstream.StreamConfig{})
			if _, err := js.Publish(t.Context(), "own.a", body); err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Request("$JS.API.CONSUMER.CREATE.OWN", []byte(`{"stream_name":"OWN","config":{"deliver_subject":"`+root+
				`agent.a1.state.k","ack_policy":"none","deliver_policy":"all"}}`), patience); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(way, func(t *testing.T) {
			client, _, stream := journalled(t)
			try(t, client)
			harness.Must(t, client.Flush())
			// What the server does on the client's behalf comes before this, which
			// takes the same way.
			for range 20 {
				if _, err := client.Request("$JS.API.INFO", nil, patience); err != nil {
					t.Fatal(err)
				}
			}
			info, err := stream.Info(t.Context())
			harness.Must(t, err)
			if n := info.State.Msgs; n > 0 {
				msg, err := stream.GetMsg(t.Context(), 1)
				harness.Must(t, err)
				t.Errorf("the journal holds %d messages that no engine appended: %.200s", n, msg.Data)
			}
		})
	}
}

func TestClientsCannotManageTheJournal(t *testing.T) {
	client, j, stream := journalled(t)
	for v := range uint64(3) {
		ev := events.Event{Type: events.StateSet, Aggregate: "agent", ID: "a1", Key: "k", Version: v + 1, Digest: "d", Schema: 1, Data: []byte(`{"value":1}`)}
		if _, err := j.Append(t.Context(), history.Writes("agent.a1.state.k", v, fmt.Sprint(v), []events.Event{ev})); err != nil {
			t.Fatal(err)
		}
	}
	for _, api := range []string{
		"STREAM.DELETE.EVENTS", "STREAM.PURGE.EVENTS", "STREAM.UPDATE.EVENTS", "STREAM.CREATE.EVENTS", "STREAM.MSG.DELETE.EVENTS",
		"STREAM.RESTORE.EVENTS", "STREAM.LEADER.STEPDOWN.EVENTS", "STREAM.PEER.REMOVE.EVENTS", "STREAM.PURGE.EVENTS_0",
	} {
		harness.Must(t, client.Publish("$JS.API."+api, []byte(`{"name":"EVENTS","subjects":["events.>"],"max_msgs":1,"seq":1}`)))
	}
	for _, direct := range []string{"$KV.X.k", "$JS.API.STREAM.NAMES"} { // others are allowed
		harness.Must(t, client.Publish(direct, nil))
	}
	if _, err := client.Request("$JS.API.INFO", nil, patience); err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil || info.State.Msgs != 3 || info.Config.MaxMsgs > 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

func streamConfig(name string) jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: name, Subjects: []string{"kept.>"}}
}
