package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

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
		{"STREAM.MSG.GET.KV_AGENT_STATE", `{"seq":1,"multi_last":["$KV.AGENT_STATE.bob.k"]}`}, // the server reads the number alone
		{"STREAM.MSG.GET.KV_AGENT_STATE", `{"start_time":"2020-01-01T00:00:00Z","multi_last":["$KV.AGENT_STATE.bob.k"]}`},
		{"STREAM.MSG.GET.KV_AGENT_STATE", `{"seq":1,"last_by_subj":"$KV.AGENT_STATE.bob.k"}`},
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
		{"DIRECT.GET.KV_AGENT_STATE", `{"multi_last":["","$KV.AGENT_STATE.bob.k"]}`}, {"DIRECT.GET.KV_AGENT_STATE", `{"start_time":"2020-01-01T00:00:00Z","last_by_subj":"$KV.AGENT_STATE.bob.k"}`},
		{"DIRECT.GET.KV_AGENT_STATE", `{"batch":10,"seq":1,"next_by_subj":"$KV.AGENT_STATE.>"}`}, {"DIRECT.GET.KV_AGENT_STATE.$KV.AGENT_STATE.alice.k", ""},
	} {
		m, err := r.bob.Request("$JS.API."+c.api, []byte(c.body), harness.Patience)
		if err != nil || m.Header.Get("Status") != "403" {
			t.Errorf("%s %s: %v %v %s", c.api, c.body, err, m.Header, m.Data)
		}
	}
	// A stream without direct gets is answered for.
	for _, body := range []string{`{"last_by_subj":"agents.state.bob.k"}`, `{"multi_last":["agents.state.bob.k"]}`} {
		if m, err := r.bob.Request("$JS.API.DIRECT.GET.AGENT_STATE", []byte(body), harness.Patience); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %+v %v", body, m, err)
		}
	}
	// What a consumer may not have is taken away.
	body := create(`"name":"mine","durable_name":"mine","ack_policy":"explicit","max_ack_pending":1,"num_replicas":3,"inactive_threshold":0,` +
		`"filter_subject":"$KV.AGENT_STATE.bob.k","metadata":{"tidemark.owner":"another"},"pause_until":"2100-01-01T00:00:00Z"`)
	m, err := r.bob.Request("$JS.API.CONSUMER.CREATE.KV_AGENT_STATE.mine.$KV.AGENT_STATE.bob.k", []byte(body), harness.Patience)
	harness.Must(t, err)
	var made struct {
		Config struct {
			Name      string            `json:"name"`
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
	if cons, err := r.engine.Consumer(t.Context(), "KV_AGENT_STATE", made.Config.Name); err != nil || cons.CachedInfo().Config.Metadata["tidemark.owner"] != r.account {
		t.Errorf("the consumer's owner: %v", err)
	}
	names, err := r.bob.Request("$JS.API.CONSUMER.NAMES.KV_AGENT_STATE", nil, harness.Patience)
	if err != nil || !strings.Contains(string(names.Data), `"consumers":["`+made.Config.Name+`"]`) {
		t.Errorf("bob's consumers: %s %v", names.Data, err)
	}
	// Pulls do not pass the gate: the name cannot be guessed, and its owner's
	// requests may have the one that it chose.
	if made.Config.Name == "mine" || !strings.HasPrefix(made.Config.Name, "mine_") {
		t.Errorf("the consumer's name is %s", made.Config.Name)
	}
	if m, err := r.carol.Request("$JS.API.CONSUMER.DELETE.KV_AGENT_STATE."+made.Config.Name, nil, harness.Patience); err != nil || !strings.Contains(string(m.Data), "403") {
		t.Errorf("carol deletes bob's consumer: %s %v", m.Data, err)
	}
	if m, err := r.bob.Request("$JS.API.CONSUMER.INFO.KV_AGENT_STATE.mine", nil, harness.Patience); err != nil || !strings.Contains(string(m.Data), made.Config.Name) {
		t.Errorf("bob's consumer by the name that he chose: %s %v", m.Data, err)
	}
	bob := support.JetStream(t, r.bob)
	named, err := bob.CreateOrUpdateConsumer(t.Context(), "AGENT_STATE", jetstream.ConsumerConfig{Name: "chosen", FilterSubject: "agents.state.bob.>"})
	harness.Must(t, err)
	if m, err := named.Next(jetstream.FetchMaxWait(harness.Patience)); err != nil || m.Subject() != "agents.state.bob.k" {
		t.Errorf("a pull from a consumer with a chosen name: %v", err)
	}
	theirs, err := r.carol.Request("$JS.API.CONSUMER.MSG.NEXT.AGENT_STATE.chosen", []byte(`{"batch":1,"no_wait":true}`), time.Second)
	if err == nil && len(theirs.Data) > 0 {
		t.Errorf("carol pulls from bob's consumer: %s", theirs.Data)
	}
	// Neither does a name that another principal may guess, or wants for its own consumer.
	const long = "a-dashboard-with-a-long-name-that-many-know"
	for _, more := range []string{"", `,"deliver_subject":"_INBOX.x"`} {
		m, err := r.bob.Request("$JS.API.CONSUMER.CREATE.AGENT_STATE."+long, []byte(`{"stream_name":"AGENT_STATE","config":{"name":"`+long+`","filter_subject":"agents.state.bob.>"`+more+`}}`), harness.Patience)
		harness.Must(t, err)
		made.Config.Name = ""
		if err := json.Unmarshal(m.Data, &made); err != nil || !strings.HasPrefix(made.Config.Name, long+"_") {
			t.Errorf("the consumer is %s", m.Data)
		}
		again, err := r.bob.Request("$JS.API.CONSUMER.CREATE.AGENT_STATE."+made.Config.Name, []byte(`{"stream_name":"AGENT_STATE","config":{"name":"`+made.Config.Name+`","filter_subject":"agents.state.bob.>"`+more+`}}`), harness.Patience)
		if err != nil || !strings.Contains(string(again.Data), `"name":"`+made.Config.Name+`"`) {
			t.Errorf("the same consumer by the name that bob has learned: %s %v", again.Data, err)
		}
		if m, err := r.bob.Request("$JS.API.CONSUMER.DELETE.AGENT_STATE."+long, nil, harness.Patience); err != nil || !strings.Contains(string(m.Data), `"success":true`) {
			t.Errorf("its end by the name that bob chose: %s %v", m.Data, err)
		}
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

// A stream's state shows no more than the grants, and what may not be read at all is
// refused as what does not exist.
func TestStreamInfoStaysWithinGrants(t *testing.T) {
	r := newRig(t)
	_, err := r.engine.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KV_TASK_STATE", Subjects: []string{"$KV.TASK_STATE.>"}})
	harness.Must(t, err)
	type state struct {
		Messages int            `json:"messages"`
		Last     int            `json:"last_seq"`
		Subjects map[string]int `json:"subjects"`
	}
	ask := func(nc *nats.Conn, api, body string) (s state, text string) {
		t.Helper()
		m, err := nc.Request("$JS.API."+api, []byte(body), harness.Patience)
		harness.Must(t, err)
		var got struct{ State state }
		harness.Must(t, json.Unmarshal(m.Data, &got))
		return got.State, string(m.Data)
	}
	if s, text := ask(r.bob, "STREAM.INFO.KV_AGENT_STATE", ""); s.Messages != 0 || s.Last != 0 || !strings.Contains(text, `"max_msgs_per_subject":5`) {
		t.Errorf("bob sees %s", text)
	}
	if s, text := ask(r.bob, "STREAM.INFO.KV_AGENT_STATE", `{"subjects_filter":"$KV.AGENT_STATE.bob.>"}`); s.Messages != 2 || s.Subjects["$KV.AGENT_STATE.bob.k"] != 2 || s.Last != 0 {
		t.Errorf("bob sees of his own %s", text)
	}
	if s, text := ask(r.carol, "STREAM.INFO.KV_AGENT_STATE", ""); s.Messages != 4 || s.Last != 4 {
		t.Errorf("carol sees %s", text)
	}
	for _, name := range []string{"KV_TASK_STATE", "EVENTS", "NONE"} { // one exists
		if _, text := ask(r.bob, "STREAM.INFO."+name, ""); !strings.Contains(strings.ReplaceAll(text, name, "X"), `"description":"forbidden: there is no grant to read X"`) {
			t.Errorf("bob sees of %s %s", name, text)
		}
	}
	for _, api := range []string{"STREAM.INFO", "STREAM.MSG.GET", "STREAM.LEADER.STEPDOWN"} { // none names a stream
		if _, text := ask(r.bob, api, ""); !strings.Contains(text, `"description":"forbidden: the streams belong to the engine; clients can read them"`) {
			t.Errorf("bob gets of %s %s", api, text)
		}
	}
	if _, text := ask(r.bob, "STREAM.NAMES", ""); !strings.Contains(text, `"streams":["AGENT_STATE","KV_AGENT_STATE"]`) {
		t.Errorf("bob's streams: %s", text)
	}
	if _, text := ask(r.bob, "STREAM.LIST", ""); strings.Contains(text, "TASK_STATE") || strings.Contains(text, `"messages":4`) || !strings.Contains(text, `"KV_AGENT_STATE"`) {
		t.Errorf("bob's list: %s", text)
	}
}

// One account has a bounded number of consumers, whatever they are called.
func TestConsumersAreCounted(t *testing.T) {
	r := newRig(t)
	create := func(nc *nats.Conn, more string) string {
		m, err := nc.Request("$JS.API.CONSUMER.CREATE.AGENT_STATE", []byte(`{"stream_name":"AGENT_STATE","config":{"filter_subject":"agents.state.bob.>"`+more+`}}`), harness.Patience)
		harness.Must(t, err)
		return string(m.Data)
	}
	refused := 0
	for range 120 {
		if strings.Contains(create(r.bob, ""), `"code":429`) {
			refused++
		}
	}
	if refused != 20 {
		t.Errorf("%d of 120 are refused", refused)
	}
	if got := create(r.carol, ""); strings.Contains(got, "error") {
		t.Errorf("carol: %s", got)
	}
}

// The server compares the filters of a consumer with each other.
func TestFiltersAreBounded(t *testing.T) {
	r := newRig(t)
	for n, want := range map[int]string{128: `"name":"many_`, 129: `"code":400`} {
		var filters []string
		for i := range n {
			filters = append(filters, fmt.Sprintf("agents.state.bob.k%d", i))
		}
		body, err := json.Marshal(map[string]any{"stream_name": "AGENT_STATE", "config": map[string]any{"filter_subjects": filters}})
		harness.Must(t, err)
		m, err := r.bob.Request("$JS.API.CONSUMER.CREATE.AGENT_STATE.many", body, harness.Patience)
		if err != nil || !strings.Contains(string(m.Data), want) {
			t.Errorf("%d filters: %v, %.300s", n, err, m.Data)
		}
	}
}

// A pull that nothing would answer is refused before it waits for ever.
func TestPullsThatNobodyAnswersAreRefused(t *testing.T) {
	r := newRig(t)
	_, err := r.engine.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}})
	harness.Must(t, err)
	_, err = support.JetStream(t, r.carol).OrderedConsumer(t.Context(), "EVENTS", jetstream.OrderedConsumerConfig{})
	var refused *jetstream.APIError
	if !errors.As(err, &refused) || refused.Code != 400 || !strings.Contains(refused.Description, "do not pull from EVENTS") {
		t.Errorf("a consumer of EVENTS: %v", err)
	}
}

// Whatever a client sends, the gate answers and stays.
func TestMalformedRequestsAreAnswered(t *testing.T) {
	r := newRig(t)
	apis := []string{
		"STREAM.INFO.KV_AGENT_STATE", "STREAM.MSG.GET.KV_AGENT_STATE", "DIRECT.GET.KV_AGENT_STATE", "DIRECT.GET.KV_AGENT_STATE.$KV.AGENT_STATE.bob.k",
		"CONSUMER.CREATE.KV_AGENT_STATE.a.$KV.AGENT_STATE.bob.k", "CONSUMER.DURABLE.CREATE.KV_AGENT_STATE.d", "STREAM.LIST", "CONSUMER", "STREAM.", "A", ".", "",
		"CONSUMER.LIST.AGENT_STATE", "CONSUMER.INFO.TASK_EXECUTION.task-processor", "CONSUMER.DELETE.KV_AGENT_STATE.x", "CONSUMER.MSG.NEXT.EVENTS.x",
	}
	bodies := []string{
		"", "{", "null", "[]", "1e999", `{"config":null}`, `{"seq":1,"last_by_subj":"$KV.AGENT_STATE.bob.k"}`, `{"seq":-1}`, `{"batch":1e99}`, "\xff\x00",
		`{"stream_name":"KV_AGENT_STATE","config":{"name":"a","filter_subject":"$KV.AGENT_STATE.bob.k"}}`, `{"stream_name":"KV_AGENT_STATE","config":{"filter_subjects":[null,""]}}`,
		strings.Repeat("[", 100_000), `{"multi_last":["$KV.AGENT_STATE.bob.k"],"batch":2}`,
	}
	try := func(api string, body []byte) {
		if r.gate.Answers(r.account, own{"bob"}, api, body) == 0 {
			t.Errorf("%q %q has no answer", api, body)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	mutate := func(text string) string {
		b := []byte(text)
		for range 1 + random.IntN(3) {
			if len(b) > 0 {
				b[random.IntN(len(b))] = "\x00\xff{}[]\",:.*>1-aZ "[random.IntN(17)]
			}
		}
		return string(b)
	}
	for _, api := range apis {
		for _, body := range bodies {
			try(api, []byte(body))
			for range 5 {
				try(mutate(api), []byte(mutate(body)))
			}
		}
	}
}
