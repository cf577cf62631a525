package security

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// engineStreams are the engine's streams in the default topology.
var engineStreams = []string{
	"EVENTS", "COMMANDS", "OUTCOMES", "DEAD_LETTERS", "TIMERS", "AGENT_STATE", "TASK_EXECUTION", "AGENT_MESSAGES",
	"KV_AGENT_STATE", "KV_TASK_STATE", "KV_SESSION_DATA", "KV_AGENT_CONFIG", "KV_REMINDER_STATE", "KV_QUERY_CACHE", "KV_TIDEMARK_QUARANTINE",
}

// engineSubjects are subjects on which only the engine speaks or listens.
var engineSubjects = []string{
	"commands.agent.a1.set", "queries.agent.a1.get", "enqueue.agent.a1.set", "events.agent.a1.state.k", "outcomes.x", "deadletters.x",
	"timers.due.x", "lanes.0.agent.a1.set", "agents.state.a1.k", "agents.lifecycle.a1.expired", "tasks.created.t1", "messages.direct.a.b",
	"$KV.AGENT_STATE.a1.k", "$KV.TIDEMARK_QUARANTINE.x", "$JS.API.STREAM.DELETE.EVENTS", "$SRV.PING", "tm.X.commands.agent.a1.set",
	"tmapi.STREAM.INFO.EVENTS", "tmjs.STREAM.DELETE.EVENTS", "_R_.x", "engines.progress.hot.0",
}

// state is what an attack must not change: each stream's identity and
// configuration, and the consumers that the engine and its workers need.
func state(t *testing.T, js jetstream.JetStream) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range engineStreams {
		s, err := js.Stream(t.Context(), name)
		harness.Mustf(t, err, "stream %s", name)
		info := s.CachedInfo()
		info.Config.Metadata = nil
		cfg, err := json.Marshal(info.Config)
		harness.Must(t, err)
		all[name] = fmt.Sprint(info.Created, string(cfg))
		for c := range s.ListConsumers(t.Context()).Info() {
			if c.Config.Durable != "" {
				all[name+"/"+c.Name] = c.Created.String()
			}
		}
	}
	return all
}

// TestDevelopmentMode: clients without credentials do all that the contract
// offers, and cannot touch what is the engine's (docs/explanation/security.md).
func TestDevelopmentMode(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	victim := e.Client(t)
	c, broken := attacker(t, e)
	victim.MustSet(t, "a1", "k", 1, nil)
	victim.MustDo(t, "task.t1.create", M{"kind": "x"})
	operator := e.OperatorJetStream(t)
	before := state(t, operator)

	t.Run("manage", func(t *testing.T) { manage(t, c) })
	t.Run("publish", func(t *testing.T) { publish(t, e, c, broken) })
	t.Run("subscribe", func(t *testing.T) { subscribe(t, c, broken) })
	t.Run("own streams", func(t *testing.T) { ownStreams(t, c) })
	t.Run("server as a speaker", func(t *testing.T) { serverSpeaks(t, e, c) })
	t.Run("replies", func(t *testing.T) { replies(t, victim, c) })
	t.Run("consumers", func(t *testing.T) { consumers(t, c) })

	for name, was := range before {
		if is := state(t, operator)[name]; is != was {
			t.Errorf("%s is %s\nwas %s", name, is, was)
		}
	}
	if got := victim.MustGet(t, "a1", "k", M{"consistency": "strong"}); string(got.Value) != "1" || got.Version != 1 {
		t.Errorf("the state is %s", got)
	}
	for _, event := range victim.Journal(t) {
		if event.ID != "a1" && event.ID != "t1" && event.ID != "replies" {
			t.Errorf("the journal holds %+v", event)
		}
	}
	e.Verify()
}

// manage tries each request that changes a stream, on each stream.
func manage(t *testing.T, c *harness.Client) {
	for _, stream := range engineStreams {
		for api, body := range map[string]string{
			"STREAM.DELETE." + stream: "", "STREAM.PURGE." + stream: "",
			"STREAM.UPDATE." + stream:          `{"name":"` + stream + `","subjects":["own.>"],"max_msgs":1}`,
			"STREAM.CREATE." + stream:          `{"name":"` + stream + `","subjects":["own.>"]}`,
			"STREAM.MSG.DELETE." + stream:      `{"seq":1}`,
			"STREAM.RESTORE." + stream:         `{"config":{"name":"` + stream + `"},"state":{}}`,
			"STREAM.SNAPSHOT." + stream:        `{"deliver_subject":"own.snapshot"}`,
			"STREAM.LEADER.STEPDOWN." + stream: "", "STREAM.PEER.REMOVE." + stream: `{"peer":"x"}`,
		} {
			if code, answer := jsAPI(t, c.Conn, api, body); code != 403 {
				t.Errorf("%s: %d %s", api, code, answer)
			}
		}
	}
}

// publish says what only the engine says. No client hears it.
func publish(t *testing.T, e *harness.Engine, c *harness.Client, broken <-chan error) {
	listener := e.Client(t)
	var subs []*nats.Subscription
	for _, subject := range []string{"agents.>", "tasks.>", "messages.>", "outcomes.>"} {
		sub, err := listener.SubscribeSync(subject)
		harness.Must(t, err)
		subs = append(subs, sub)
	}
	inbox := listener.NewInbox()
	mine, err := listener.SubscribeSync(inbox)
	harness.Must(t, err)
	subs = append(subs, mine)
	harness.Must(t, listener.Flush())
	for _, subject := range append([]string{inbox, "agents.heartbeat.a1", "tasks.completed.t1", "messages.notification.x"}, engineSubjects...) {
		switch strings.SplitN(subject, ".", 2)[0] {
		case "commands", "queries", "enqueue", "$SRV", "tmapi", "tmjs", "tm", "$JS":
			continue // requests of anybody; tried elsewhere
		}
		harness.Must(t, c.Publish(subject, []byte(`{"forged":true}`)))
		violation(t, broken, subject)
	}
	for _, subject := range []string{"tm.X.commands.agent.a1.set", "tmjs.STREAM.DELETE.EVENTS", "tmjs.STREAM.NAMES"} {
		harness.Must(t, c.Publish(subject, nil))
		violation(t, broken, "publish to")
	}
	for _, sub := range subs {
		if m := hears(t, sub); m != nil && strings.Contains(string(m.Data), "forged") {
			t.Errorf("%s was heard", m.Subject)
		}
	}
}

// subscribe tries to take what is sent to the engine.
func subscribe(t *testing.T, c *harness.Client, broken <-chan error) {
	for _, subject := range []string{
		"commands.>", "commands.agent.*.set", "queries.>", "queries.engine.status", "enqueue.>", "enqueue.agent.a1.*", "$SRV.>", "$SRV.PING",
		"$SRV.INFO.tidemark", "$JS.API.>", "$JS.API.STREAM.INFO.*", "$JS.ACK.>", "$JS.FC.>", "tm.>", "tmapi.>", "tmjs.>", "engine-only.>",
	} {
		sub, err := c.SubscribeSync(subject)
		harness.Must(t, err)
		violation(t, broken, subject)
		queue, err := c.QueueSubscribeSync(subject, "q")
		harness.Must(t, err)
		violation(t, broken, subject)
		_, _ = sub.Unsubscribe(), queue.Unsubscribe() // both are gone
	}
	all, err := c.SubscribeSync(">")
	harness.Must(t, err)
	if _, err := c.Query(t.Context(), "queries.engine.status", nil); err != nil {
		t.Error(err)
	}
	for m := hears(t, all); m != nil; m = hears(t, all) {
		for _, root := range []string{"commands.", "queries.", "enqueue.", "$SRV.", "$JS.API.", "tmapi."} {
			if strings.HasPrefix(m.Subject, root) {
				t.Errorf("a subscription to everything hears %s", m.Subject)
			}
		}
	}
	harness.Must(t, all.Unsubscribe())
}

// ownStreams tries to take or send with a stream of its own what is the engine's.
func ownStreams(t *testing.T, c *harness.Client) {
	config := func(more string) string { return `{"name":"OWN","storage":"memory",` + more + `}` }
	for _, subject := range append([]string{
		">", "*.>", "*.agent.>", "commands.>", "queries.>", "enqueue.>", "agents.>", "tasks.*.t1", "*.*", "$KV.>", "$KV.AGENT_STATE.>", "$KV.*.>",
		"$SRV.>", "$JS.>", "$JS.API.>", "_R_.>", "tmapi.>", "tm.>",
	}, engineSubjects...) {
		for _, api := range []string{"STREAM.CREATE.OWN", "STREAM.UPDATE.OWN"} {
			if code, answer := jsAPI(t, c.Conn, api, config(fmt.Sprintf(`"subjects":[%q]`, subject))); code != 403 {
				t.Errorf("%s on %s: %d %s", api, subject, code, answer)
			}
		}
	}
	many := func(one string) string { // the server compares each with each
		return "[" + strings.TrimSuffix(strings.Repeat(one+",", 6_000), ",") + "]"
	}
	for what, more := range map[string]string{
		"many subjects":   `"subjects":` + many(`"own.a"`),
		"many transforms": `"mirror":{"name":"OTHER","subject_transforms":` + many(`{"src":"own.>","dest":"own.>"}`) + `}`,
		"many sources":    `"sources":` + many(`{"name":"OTHER"}`),
		"republish":       `"subjects":["own.>"],"republish":{"src":">","dest":"agents.>"}`,
		"republish api":   `"subjects":["own.>"],"republish":{"src":">","dest":"$JS.API.STREAM.DELETE.EVENTS"}`,
		"Republish":       `"subjects":["own.>"],"RePublish":{"src":">","dest":"events.>"}`,
		"two republishes": `"subjects":["own.>"],"republish":null,"republish":{"src":">","dest":"events.>"}`,
		"mirror":          `"mirror":{"name":"EVENTS","external":{"api":"$JS.API","deliver":"commands.x"}}`,
		"source":          `"sources":[{"name":"EVENTS","external":{"api":"tm.X.api","deliver":"agents.state"}}]`,
		"transform":       `"subjects":["own.>"],"subject_transform":{"src":"own.>","dest":"agents.state.>"}`,
		"a row":           `"subjects":["own.>"],"subject_transform":{"src":"own.*.*","dest":"$KV.AGENT_STATE.{{wildcard(1)}}.{{wildcard(2)}}"}`,
		"any subject":     `"subjects":["own.>"],"subject_transform":{"src":"own.*.>","dest":"{{wildcard(1)}}.>"}`,
		"a number":        `"subjects":["own.>"],"subject_transform":{"src":"own.*.*","dest":"$1.$2"}`,
		"source's":        `"sources":[{"name":"OTHER","subject_transforms":[{"src":"own.>","dest":"own.>"},{"src":"x.>","dest":"outcomes.>"}]}]`,
		"mirror's":        `"mirror":{"name":"OTHER","subject_transforms":[{"src":"own.>","dest":"tasks.completed.>"}]}`,
		"a listener":      `"sources":[{"name":"OTHER","consumer":{"name":"c","deliver_subject":"commands.agent.a1.set"}}]`,
	} {
		if code, answer := jsAPI(t, c.Conn, "STREAM.CREATE.OWN", config(more)); code != 403 {
			t.Errorf("%s: %d %s", what, code, answer)
		}
	}
	_, err := c.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OWN", Subjects: []string{"own.>"}, AllowDirect: true})
	harness.Must(t, err)
	_, err = c.JS.Publish(t.Context(), "own.a", []byte(`{"key":"k","value":"forged"}`))
	harness.Must(t, err)
	if code, answer := jsAPI(t, c.Conn, "CONSUMER.CREATE.OWN", `{"stream_name":"OWN","config":{"filter_subjects":`+many(`"own.a"`)+`}}`); code != 403 {
		t.Errorf("many filters: %d %s", code, answer)
	}
	for _, deliver := range engineSubjects {
		for _, api := range []string{"CONSUMER.CREATE.OWN", "CONSUMER.CREATE.OWN.push", "CONSUMER.DURABLE.CREATE.OWN.push"} {
			body := fmt.Sprintf(`{"stream_name":"OWN","config":{"name":"push","durable_name":"push","ack_policy":"none","deliver_subject":%q}}`, deliver)
			if code, answer := jsAPI(t, c.Conn, api, body); code != 403 && code != 400 {
				t.Errorf("%s that delivers to %s: %d %s", api, deliver, code, answer)
			}
		}
		// What is read is sent where the request says.
		for _, read := range []string{"DIRECT.GET.OWN", "STREAM.MSG.GET.OWN", "STREAM.INFO.OWN", "DIRECT.GET.OWN.own.a"} {
			body := ""
			if strings.HasSuffix(read, "OWN") && !strings.Contains(read, "INFO") {
				body = `{"seq":1}`
			}
			harness.Must(t, c.PublishRequest("$JS.API."+read, deliver, []byte(body)))
		}
		harness.Must(t, c.PublishRequest("own.a", deliver, []byte(`{"key":"k","value":"forged"}`)))
	}
	harness.Must(t, c.JS.DeleteStream(t.Context(), "OWN"))
}

// serverSpeaks has the server say what only the engine says. It sends the next message of a
// stream, and traces, wherever a client wants.
func serverSpeaks(t *testing.T, e *harness.Engine, c *harness.Client) {
	listener := e.Client(t)
	var heard []*nats.Subscription
	for _, subject := range []string{"agents.>", "tasks.>", "messages.>", "outcomes.>", "commands.>", "enqueue.>"} {
		sub, err := listener.SubscribeSync(subject) // the last two are refused
		harness.Must(t, err)
		heard = append(heard, sub)
	}
	harness.Must(t, listener.Flush())
	const forged = `{"key":"k","value":"forged"}`
	s, err := c.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SPEAKER", Subjects: []string{"speaker.>"}})
	harness.Must(t, err)
	consumer, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "mouth", AckPolicy: jetstream.AckExplicitPolicy})
	harness.Must(t, err)
	say := func() jetstream.Msg {
		t.Helper()
		for range 2 {
			_, err := c.JS.Publish(t.Context(), "speaker.a", []byte(forged))
			harness.Must(t, err)
		}
		m, err := consumer.Next(jetstream.FetchMaxWait(harness.Patience))
		harness.Must(t, err)
		return m
	}
	for _, to := range engineSubjects {
		if strings.HasPrefix(to, "_R_") || strings.HasPrefix(to, "$JS.") {
			continue // the server closes the connection
		}
		harness.Must(t, c.PublishRequest(say().Reply(), to, []byte(`+NXT {"batch":1,"no_wait":true}`)))
		harness.Must(t, c.PublishMsg(&nats.Msg{Subject: "own.traced", Header: nats.Header{"Nats-Trace-Dest": {to}, "Forged": {"forged"}}, Data: []byte(forged)}))
	}
	m, err := c.Request(say().Reply(), []byte(`+NXT {"batch":1}`), harness.Patience) // where it may, and behind all before
	if err != nil || string(m.Data) != forged {
		t.Errorf("the next message of an own stream: %v", err)
	}
	harness.Must(t, say().DoubleAck(t.Context()))
	harness.Must(t, c.JS.DeleteStream(t.Context(), "SPEAKER"))
	harness.Must(t, listener.Flush())
	for _, sub := range heard {
		for m := hears(t, sub); m != nil; m = hears(t, sub) {
			if strings.Contains(string(m.Data), "orged") {
				t.Errorf("a listener to %s hears on %s: %.200s", sub.Subject, m.Subject, m.Data)
			}
		}
		_ = sub.Unsubscribe() // it may be refused
	}
}

// replies asks the engine to answer where others listen.
func replies(t *testing.T, victim, c *harness.Client) {
	feeds, err := victim.SubscribeSync("agents.>")
	harness.Must(t, err)
	outcomes, err := victim.SubscribeSync("outcomes.>")
	harness.Must(t, err)
	harness.Must(t, victim.Flush())
	for _, reply := range engineSubjects {
		for _, subject := range []string{"commands.agent.replies.set", "commands.batch", "queries.agent.a1.get", "queries.engine.status", "$SRV.PING", "$SRV.STATS.tidemark", "enqueue.agent.replies.set"} {
			harness.Must(t, c.PublishRequest(subject, reply, []byte(`{"key":"k","value":1,"strategy":"last_write_wins"}`)))
		}
		for _, forged := range []string{"Nats-Request-Info", "nats-request-info"} {
			m := &nats.Msg{Subject: "commands.agent.stolen.set", Header: nats.Header{forged: {`{"acc":"X","kind":"Client","user":"x"}`}}, Data: []byte(`{"key":"k","value":"forged"}`)}
			if forged == "nats-request-info" {
				if _, err := c.Ask(t.Context(), m); err == nil {
					t.Errorf("a command with a second %s is executed", forged)
				}
			}
		}
	}
	victim.MustSet(t, "replies", "k", "after", M{"strategy": "last_write_wins"})
	victim.CaughtUp(t)
	for _, sub := range []*nats.Subscription{feeds, outcomes} {
		for m := hears(t, sub); m != nil; m = hears(t, sub) {
			if strings.HasPrefix(m.Subject, "agents.state.a1") || m.Subject == "outcomes.x" || m.Subject == "agents.lifecycle.a1.expired" {
				t.Errorf("an answer is heard on %s: %.200s", m.Subject, m.Data)
			}
		}
	}
}

// consumers tries to use, change or remove what is not its own.
func consumers(t *testing.T, c *harness.Client) {
	for _, name := range []string{"TASK_EXECUTION.task-processor", "TASK_EXECUTION.feeds-position", "AGENT_MESSAGES.message-batch-processor", "COMMANDS.lane-0", "COMMANDS.unknown", "TIMERS.timers"} {
		stream, consumer, _ := strings.Cut(name, ".")
		if code, answer := jsAPI(t, c.Conn, "CONSUMER.DELETE."+name, ""); code != 403 {
			t.Errorf("delete %s: %d %s", name, code, answer)
		}
		change := fmt.Sprintf(`{"stream_name":%q,"config":{"name":%q,"durable_name":%q,"ack_policy":"none","max_deliver":1}}`, stream, consumer, consumer)
		jsAPI(t, c.Conn, "CONSUMER.CREATE."+name, change) // what it says is compared at the end
		for _, api := range []string{"CONSUMER.PAUSE.", "CONSUMER.RESET.", "CONSUMER.LEADER.STEPDOWN.", "CONSUMER.UNPIN."} {
			if code, answer := jsAPI(t, c.Conn, api+name, `{"pause_until":"2100-01-01T00:00:00Z","seq":1}`); code != 403 {
				t.Errorf("%s%s: %d %s", api, name, code, answer)
			}
		}
		if name != "TASK_EXECUTION.task-processor" && stream != "AGENT_MESSAGES" {
			harness.Must(t, c.PublishRequest("$JS.ACK."+name+".1.1.1.1.1", c.NewInbox(), []byte("+ACK")))
			if code, answer := jsAPI(t, c.Conn, "CONSUMER.MSG.NEXT."+name, `{"batch":1,"no_wait":true}`); code == 0 {
				t.Errorf("pull from %s: %d %s", name, code, answer)
			}
		}
	}
	for what, body := range map[string]string{
		"durable on the journal": `{"stream_name":"EVENTS","config":{"name":"x1","durable_name":"x1","ack_policy":"explicit","inactive_threshold":0}}`,
		"delivery elsewhere":     `{"stream_name":"EVENTS","config":{"name":"x2","ack_policy":"none","deliver_subject":"agents.state.a1.k"}}`,
		"delivery to an account": `{"stream_name":"EVENTS","config":{"name":"x3","ack_policy":"none","deliver_subject":"tm.X.inbox.a"}}`,
	} {
		name := body[strings.Index(body, `"name":"`)+8:][:2]
		code, answer := jsAPI(t, c.Conn, "CONSUMER.CREATE.EVENTS."+name, body)
		if code == 0 && (strings.Contains(answer, `"durable_name"`) || strings.Contains(answer, `"ack_policy":"explicit"`) || strings.Contains(body, "deliver_subject")) {
			t.Errorf("%s: %s", what, answer)
		}
	}
}
