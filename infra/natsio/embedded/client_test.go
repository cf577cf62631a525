package embedded_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/support"
)

const patience = 10 * time.Second

// journalled is a server with a journal's stream, seen by the engine.
func journalled(t *testing.T) (engine, client *nats.Conn, journal jetstream.Stream) {
	t.Helper()
	s := support.NATS(t)
	engine = support.Engine(t, s)
	journal, err := support.JetStream(t, engine).CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{"events.>"}, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := support.JetStream(t, engine).CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "EVENTS_0", Subjects: []string{"journal.0.>"}}); err != nil {
		t.Fatal(err)
	}
	return engine, support.Client(t, s), journal
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
	_, client, _ := journalled(t)
	js := own(t, client, jetstream.StreamConfig{})
	if _, err := js.Publish(t.Context(), "own.a", []byte("x")); err != nil {
		t.Error(err)
	}
	c, err := js.CreateConsumer(t.Context(), "OWN", jetstream.ConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := c.Next(); err != nil || string(msg.Data()) != "x" {
		t.Errorf("%v, %v", msg, err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "MINE"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
		t.Error(err)
	}
	if _, err := js.Stream(t.Context(), "EVENTS"); err != nil {
		t.Errorf("the journal may be read: %v", err)
	}
}

// Whatever a client does, no event appears that the engine did not append
// (contract, section 3).
func TestClientsCannotForgeEvents(t *testing.T) {
	const forged = "events.agent.a1.state.k"
	body := []byte(`{"forged":true}`)
	for way, try := range map[string]func(*testing.T, *nats.Conn){
		"by publishing": func(t *testing.T, nc *nats.Conn) { must(t, nc.Publish(forged, body)) },
		"by publishing to the partition's intake": func(t *testing.T, nc *nats.Conn) {
			must(t, nc.Publish("journal.0.agent.a1.state.k", body))
		},
		"as the reply of the JetStream API": func(t *testing.T, nc *nats.Conn) {
			must(t, nc.PublishRequest("$JS.API.INFO", forged, nil))
		},
		"as the reply of a direct get": func(t *testing.T, nc *nats.Conn) {
			js := own(t, nc, jetstream.StreamConfig{})
			if _, err := js.Publish(t.Context(), "own.a", body); err != nil {
				t.Fatal(err)
			}
			must(t, nc.PublishRequest("$JS.API.DIRECT.GET.OWN", forged, []byte(`{"seq":1}`)))
		},
		"as the ack of a publish": func(t *testing.T, nc *nats.Conn) {
			own(t, nc, jetstream.StreamConfig{})
			must(t, nc.PublishRequest("own.a", forged, body))
		},
		"by a stream that republishes": func(t *testing.T, nc *nats.Conn) {
			js := support.JetStream(t, nc)
			_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
				Name: "OWN", Subjects: []string{"own.>"}, RePublish: &jetstream.RePublish{Source: "own.>", Destination: "events.>"}})
			if err == nil {
				_, err = js.Publish(t.Context(), "own.agent.a1.state.k", body)
				must(t, err)
			}
		},
		"by a consumer that delivers": func(t *testing.T, nc *nats.Conn) {
			js := own(t, nc, jetstream.StreamConfig{})
			if _, err := js.Publish(t.Context(), "own.a", body); err != nil {
				t.Fatal(err)
			}
			reply, err := nc.Request("$JS.API.CONSUMER.CREATE.OWN",
				[]byte(`{"stream_name":"OWN","config":{"deliver_subject":"`+forged+`","ack_policy":"none","deliver_policy":"all"}}`), patience)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s", reply.Data)
		},
	} {
		t.Run(way, func(t *testing.T) {
			engine, client, journal := journalled(t)
			try(t, client)
			must(t, client.Flush())
			// What the server does on the client's behalf comes before this, which
			// takes the same way.
			for range 20 {
				if _, err := client.Request("$JS.API.INFO", nil, patience); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"EVENTS", "EVENTS_0"} {
				stream, err := support.JetStream(t, engine).Stream(t.Context(), name)
				must(t, err)
				if n := stream.CachedInfo().State.Msgs; n > 0 {
					msg, err := journal.GetMsg(t.Context(), 1)
					must(t, err)
					t.Errorf("%s holds %d messages that no engine appended: %.200s", name, n, msg.Data)
				}
			}
		})
	}
}

func TestClientsCannotManageTheJournal(t *testing.T) {
	engine, client, journal := journalled(t)
	for range 3 {
		if _, err := support.JetStream(t, engine).Publish(t.Context(), "events.agent.a1.state.k", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, api := range []string{
		"STREAM.DELETE.EVENTS", "STREAM.PURGE.EVENTS", "STREAM.UPDATE.EVENTS", "STREAM.CREATE.EVENTS", "STREAM.MSG.DELETE.EVENTS",
		"STREAM.RESTORE.EVENTS", "STREAM.LEADER.STEPDOWN.EVENTS", "STREAM.PEER.REMOVE.EVENTS", "STREAM.PURGE.EVENTS_0",
	} {
		must(t, client.Publish("$JS.API."+api, []byte(`{"name":"EVENTS","subjects":["events.>"],"max_msgs":1,"seq":1}`)))
	}
	for _, direct := range []string{"$KV.X.k", "$JS.API.STREAM.NAMES"} { // others are allowed
		must(t, client.Publish(direct, nil))
	}
	if _, err := client.Request("$JS.API.INFO", nil, patience); err != nil {
		t.Fatal(err)
	}
	info, err := journal.Info(t.Context())
	if err != nil || info.State.Msgs != 3 || info.Config.MaxMsgs > 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
