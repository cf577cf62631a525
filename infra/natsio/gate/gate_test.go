package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// own covers what is of one agent.
type own struct{ agent string }

func (own) All(string) bool { return false }
func (o own) Covers(_, subject string) bool {
	for _, root := range []string{"$KV.AGENT_STATE.", "agents.state."} {
		if rest, ok := strings.CutPrefix(subject, root); ok && (rest == o.agent || strings.HasPrefix(rest, o.agent+".")) {
			return true
		}
	}
	return false
}

// rig is a server with a bucket and a feed of two agents, and two principals: bob
// may read bob's, carol everything.
type rig struct {
	engine     jetstream.JetStream
	bob, carol *nats.Conn
	account    string // of bob
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Auth: true, ReadRaw: auth.Streams, Log: harness.Log(t)})
	harness.Must(t, err)
	t.Cleanup(s.Stop)
	nc := support.Engine(t, s)
	g, err := gate.Start(gate.Config{Engine: nc, Subjects: natsio.NewSubjects(""), Accounts: s.Authority(), Free: auth.Streams, Log: harness.Log(t),
		Access: func(c *identity.Caller) gate.Access {
			if c.Principal == "carol" {
				return gate.Everything{}
			}
			return own{c.Principal}
		}})
	harness.Must(t, err)
	t.Cleanup(g.Stop)
	r := &rig{engine: support.JetStream(t, nc)}
	kv, err := r.engine.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "AGENT_STATE", History: 5})
	harness.Must(t, err)
	_, err = r.engine.CreateStream(t.Context(), jetstream.StreamConfig{Name: "AGENT_STATE", Subjects: []string{"agents.state.>"}})
	harness.Must(t, err)
	for _, key := range []string{"alice.k", "bob.k", "alice.k", "bob.k"} {
		_, err := kv.PutString(t.Context(), key, "of "+key)
		harness.Must(t, err)
		_, err = r.engine.Publish(t.Context(), "agents.state."+key, []byte("of "+key))
		harness.Must(t, err)
	}
	connect := func(name string) *nats.Conn {
		creds, err := s.Authority().NewPrincipal(name)
		harness.Must(t, err)
		c, err := nats.Connect(s.URL(), nats.UserCredentialBytes(creds), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		harness.Must(t, err)
		t.Cleanup(c.Close)
		return c
	}
	r.bob, r.carol = connect("bob"), connect("carol")
	r.account, err = s.Authority().Account("bob")
	harness.Must(t, err)
	return r
}

// values reads a watch up to its present end.
func values(t *testing.T, w jetstream.KeyWatcher, err error) (got []string) {
	t.Helper()
	harness.Must(t, err)
	defer func() { harness.Must(t, w.Stop()) }()
	for {
		e := harness.Receive(t, "a value", w.Updates())
		if e == nil {
			return got
		}
		got = append(got, string(e.Value()))
	}
}

// Plain clients read a bucket within their grants: get, watch, history, keys, by
// both interfaces of nats.go.
func TestBucketsAreReadWithinGrants(t *testing.T) {
	r := newRig(t)
	bob, err := support.JetStream(t, r.bob).KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	if e, err := bob.Get(t.Context(), "bob.k"); err != nil || string(e.Value()) != "of bob.k" {
		t.Errorf("get: %v %v", e, err)
	}
	w, err := bob.Watch(t.Context(), "bob.>")
	if got := values(t, w, err); len(got) != 1 {
		t.Errorf("watch: %q", got)
	}
	w, err = bob.Watch(t.Context(), "bob.*", jetstream.IncludeHistory())
	if got := values(t, w, err); len(got) != 2 {
		t.Errorf("watch with history: %q", got)
	}
	if h, err := bob.History(t.Context(), "bob.k"); err != nil || len(h) != 2 {
		t.Errorf("history: %v %v", h, err)
	}
	refusal := ""
	for _, key := range []string{"alice.k", "alice.none", "nobody.k"} { // alike for what exists and what does not
		_, err := bob.Get(t.Context(), key)
		var refused *jetstream.APIError
		if !errors.As(err, &refused) || refused.Code != 403 || refusal != "" && refused.Description != refusal {
			t.Errorf("get %s: %v", key, err)
			continue
		}
		refusal = refused.Description
	}
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for _, pattern := range []string{"alice.>", ">", "*.k", "alice.k", "b*.k"} {
		if w, err := bob.Watch(short, pattern); err == nil {
			t.Errorf("watch %s is permitted: %q", pattern, values(t, w, nil))
		}
	}
	if keys, err := bob.Keys(short); err == nil {
		t.Errorf("keys: %q", keys)
	}
	if _, err := bob.PutString(short, "bob.k", "x"); err == nil {
		t.Error("a client writes a row")
	}

	old, err := r.bob.JetStream(nats.MaxWait(harness.Patience))
	harness.Must(t, err)
	kv, err := old.KeyValue("AGENT_STATE")
	harness.Must(t, err)
	if e, err := kv.Get("bob.k"); err != nil || string(e.Value()) != "of bob.k" {
		t.Errorf("the older interface: %v %v", e, err)
	}
	watcher, err := kv.Watch("bob.>")
	harness.Must(t, err)
	if e := harness.Receive(t, "a value", watcher.Updates()); e == nil || e.Key() != "bob.k" {
		t.Errorf("the older interface watches %v", e)
	}
	harness.Must(t, watcher.Stop())

	all, err := support.JetStream(t, r.carol).KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	w, err = all.WatchAll(t.Context())
	if got := values(t, w, err); len(got) != 2 {
		t.Errorf("carol watches %q", got)
	}
	if keys, err := all.Keys(t.Context()); err != nil || len(keys) != 2 {
		t.Errorf("carol's keys: %q %v", keys, err)
	}
	put, err := r.engine.KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	w, err = all.Watch(t.Context(), "alice.>", jetstream.UpdatesOnly())
	harness.Must(t, err)
	_, err = put.PutString(t.Context(), "alice.k", "now")
	harness.Must(t, err)
	if e := harness.Receive(t, "a change", w.Updates()); e == nil || string(e.Value()) != "now" {
		t.Errorf("carol hears %v", e)
	}
	harness.Must(t, w.Stop())
}

// Requests of the JetStream API that a client could write itself show no more.
func TestRequestsStayWithinGrants(t *testing.T) {
	r := newRig(t)
	create := func(config string) string { return `{"stream_name":"KV_AGENT_STATE","config":{` + config + `}}` }
	for _, c := range []struct{ api, body string }{
		{"STREAM.MSG.GET.KV_AGENT_STATE", `{"seq":1}`},
		{"STREAM.MSG.GET.KV_AGENT_STATE", `{"seq":1,"next_by_subj":">"}`},
		{"STREAM.MSG.GET.KV_AGENT_STATE", `{"last_by_subj":"$KV.AGENT_STATE.alice.k"}`},
		{"STREAM.MSG.GET.KV_AGENT_STATE", `{"seq":1,"next_by_subj":"$KV.AGENT_STATE.*.k"}`},
		{"STREAM.INFO.KV_AGENT_STATE", `{"subjects_filter":">"}`},
		{"STREAM.INFO.KV_AGENT_STATE", `{"subjects_filter":"$KV.AGENT_STATE.alice.>"}`},
		{"CONSUMER.CREATE.KV_AGENT_STATE", create(`"deliver_subject":"_INBOX.x"`)},
		{"CONSUMER.CREATE.KV_AGENT_STATE.n", create(`"name":"n","filter_subjects":["$KV.AGENT_STATE.bob.k","$KV.AGENT_STATE.alice.k"]`)},
		{"CONSUMER.CREATE.KV_AGENT_STATE.n.$KV.AGENT_STATE.bob.k", create(`"name":"n","filter_subject":"$KV.AGENT_STATE.alice.k"`)},
		{"CONSUMER.CREATE.KV_AGENT_STATE.n.$KV.AGENT_STATE.alice.k", create(`"name":"n","filter_subject":"$KV.AGENT_STATE.alice.k"`)},
		{"CONSUMER.CREATE.KV_AGENT_STATE.n.$KV.AGENT_STATE.bob.k", create(`"name":"n","filter_subject":"$KV.AGENT_STATE.bob.k","deliver_subject":"agents.state.bob.k"`)},
		{"CONSUMER.CREATE.KV_AGENT_STATE.n", `{"stream_name":"AGENT_STATE","config":{"name":"n","filter_subject":"agents.state.bob.k"}}`},
		{"CONSUMER.INFO.KV_AGENT_STATE.of_carol", ""}, {"CONSUMER.DELETE.KV_AGENT_STATE.of_carol", ""}, {"CONSUMER.DELETE.KV_AGENT_STATE.none", ""},
		{"STREAM.PURGE.KV_AGENT_STATE", ""}, {"STREAM.DELETE.AGENT_STATE", ""}, {"STREAM.INFO.NONE", ""},
	} {
		m, err := r.bob.Request("$JS.API."+c.api, []byte(c.body), harness.Patience)
		if err != nil || !strings.Contains(string(m.Data), `"error"`) || strings.Contains(string(m.Data), "of alice") {
			t.Errorf("%s %s: %v %s", c.api, c.body, err, m.Data)
		}
	}
	for _, c := range []struct{ api, body string }{
		{"DIRECT.GET.KV_AGENT_STATE", `{"seq":1}`}, {"DIRECT.GET.KV_AGENT_STATE", `{"multi_last":["$KV.AGENT_STATE.>"]}`},
		{"DIRECT.GET.KV_AGENT_STATE", `{"batch":10,"seq":1,"next_by_subj":"$KV.AGENT_STATE.>"}`}, {"DIRECT.GET.KV_AGENT_STATE.$KV.AGENT_STATE.alice.k", ""},
	} {
		m, err := r.bob.Request("$JS.API."+c.api, []byte(c.body), harness.Patience)
		if err != nil || m.Header.Get("Status") != "403" {
			t.Errorf("%s %s: %v %v %s", c.api, c.body, err, m.Header, m.Data)
		}
	}
	// What a consumer may not have is taken away.
	body := create(`"name":"mine","durable_name":"mine","ack_policy":"explicit","max_ack_pending":1,"num_replicas":3,"inactive_threshold":0,` +
		`"filter_subject":"$KV.AGENT_STATE.bob.k","metadata":{"tidemark.owner":"somebody"},"pause_until":"2100-01-01T00:00:00Z"`)
	m, err := r.bob.Request("$JS.API.CONSUMER.CREATE.KV_AGENT_STATE.mine.$KV.AGENT_STATE.bob.k", []byte(body), harness.Patience)
	harness.Must(t, err)
	var made struct {
		Config struct {
			Durable   string            `json:"durable_name"`
			Ack       string            `json:"ack_policy"`
			Threshold time.Duration     `json:"inactive_threshold"`
			Metadata  map[string]string `json:"metadata"`
			Pause     *time.Time        `json:"pause_until"`
		}
	}
	harness.Must(t, json.Unmarshal(m.Data, &made))
	if c := made.Config; c.Durable != "" || c.Ack != "none" || c.Threshold != 5*time.Minute || c.Pause != nil {
		t.Errorf("the consumer is %s", m.Data)
	}
	if cons, err := r.engine.Consumer(t.Context(), "KV_AGENT_STATE", "mine"); err != nil || cons.CachedInfo().Config.Metadata["tidemark.owner"] != r.account {
		t.Errorf("the consumer's owner: %v", err)
	}
	names, err := r.bob.Request("$JS.API.CONSUMER.NAMES.KV_AGENT_STATE", nil, harness.Patience)
	if err != nil || !strings.Contains(string(names.Data), `"consumers":["mine"]`) {
		t.Errorf("bob's consumers: %s %v", names.Data, err)
	}
	if m, err := r.carol.Request("$JS.API.CONSUMER.DELETE.KV_AGENT_STATE.mine", nil, harness.Patience); err != nil || !strings.Contains(string(m.Data), "403") {
		t.Errorf("carol deletes bob's consumer: %s %v", m.Data, err)
	}
	for what, header := range map[string]nats.Header{"lower case": {"nats-request-info": {`{"acc":"X"}`}}, "upper case": {"NATS-REQUEST-INFO": {`{"acc":"X"}`}}} {
		m, err := r.carol.RequestMsg(&nats.Msg{Subject: "$JS.API.STREAM.NAMES", Header: header}, harness.Patience)
		if err != nil || !strings.Contains(string(m.Data), `"code":403`) {
			t.Errorf("a forged sender, %s: %s %v", what, m.Data, err)
		}
	}
}

// Ordered consumers read a feed within the grants.
func TestFeedsAreReadWithinGrants(t *testing.T) {
	r := newRig(t)
	js := support.JetStream(t, r.bob)
	c, err := js.OrderedConsumer(t.Context(), "AGENT_STATE", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"agents.state.bob.>"}})
	harness.Must(t, err)
	for range 2 {
		m, err := c.Next(jetstream.FetchMaxWait(harness.Patience))
		if err != nil || m.Subject() != "agents.state.bob.k" {
			t.Fatalf("%v %v", m, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := js.OrderedConsumer(short, "AGENT_STATE", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"agents.state.>"}}); err == nil {
		t.Error("bob reads the whole feed")
	}
	old, err := r.bob.JetStream(nats.MaxWait(harness.Patience))
	harness.Must(t, err)
	sub, err := old.SubscribeSync("agents.state.bob.>", nats.OrderedConsumer(), nats.BindStream("AGENT_STATE"))
	harness.Must(t, err)
	if m, err := sub.NextMsg(harness.Patience); err != nil || m.Subject != "agents.state.bob.k" {
		t.Errorf("the older interface: %v %v", m, err)
	}
}
