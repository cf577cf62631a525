package topology

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestOwnServer: the embedded server takes the whole topology, and the plan
// explains each difference. A second plan, by any client, has no step.
func TestOwnServer(t *testing.T) {
	nc := own(t)
	p := planner(t, nc, document(t), topology.Options{Async: true})
	plan, err := p.Plan(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Create) != 10 || plan.Count(topology.Unchanged) != 1 || plan.Refused() {
		t.Fatalf("the first plan:\n%s", plan.Text(false))
	}
	if got := streams(t, nc); len(got) > 0 {
		t.Fatalf("a plan left streams behind: %q", got)
	}
	for _, c := range []struct {
		kind   topology.Kind
		name   string
		fields []string
	}{
		{topology.KindStream, "AGENT_STATE", []string{"replicas", "placement", "persist_mode"}},
		{topology.KindStream, "TASK_EXECUTION", []string{"retention", "replicas", "placement"}},
		{topology.KindStream, "AGENT_MESSAGES", []string{"placement"}},
		{topology.KindBucket, "AGENT_STATE", []string{"republish.src", "republish", "replicas", "placement", "persist_mode"}},
		{topology.KindBucket, "AGENT_CONFIG", []string{"ttl", "replicas", "placement", "persist_mode"}},
		{topology.KindBucket, "QUERY_CACHE", []string{"placement"}},
		{topology.KindConsumer, "task-processor", []string{"rate_limit", "start_sequence", "start_time"}},
		{topology.KindConsumer, "monitoring_consumer", []string{"name"}},
		{topology.KindConsumer, "message-batch-processor", []string{"max_batch, max_expires, max_bytes"}},
	} {
		var got []string
		for _, m := range step(t, plan, c.kind, c.name).Mappings {
			got = append(got, m.Field)
			if m.Reason == "" {
				t.Errorf("%s %s: %s has no reason", c.kind, c.name, m.Field)
			}
		}
		if !slices.Equal(got, c.fields) {
			t.Errorf("%s %s maps %q, not %q", c.kind, c.name, got, c.fields)
		}
	}

	plan, err = p.Apply(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Create) != 10 || plan.Refused() {
		t.Fatalf("applied:\n%s", plan.Text(false))
	}
	for _, again := range []*topology.Planner{p, planner(t, nc, document(t), topology.Options{})} {
		plan, err := again.Apply(t.Context())
		harness.Must(t, err)
		if plan.Count(topology.Unchanged) != 11 {
			t.Fatalf("applied again:\n%s", plan.Text(false))
		}
	}
	if got := len(streams(t, nc)); got != 8 {
		t.Errorf("there are %d streams", got)
	}
}

// TestDrift: the plan shows and corrects changes that were made on the server.
// A step that the server refuses, or that would lose messages, is refused and
// changes nothing.
func TestDrift(t *testing.T) {
	nc := own(t)
	p := planner(t, nc, document(t), topology.Options{Async: true})
	_, err := p.Apply(t.Context())
	harness.Must(t, err)
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	edit := func(stream string, change func(*jetstream.StreamConfig)) {
		t.Helper()
		s, err := js.Stream(t.Context(), stream)
		harness.Must(t, err)
		cfg := s.CachedInfo().Config
		change(&cfg)
		_, err = js.UpdateStream(t.Context(), cfg)
		harness.Must(t, err)
	}
	drift := func(want ...string) {
		t.Helper()
		plan, err := p.Inspect(t.Context())
		harness.Must(t, err)
		if got := plan.Drift(); !slices.Equal(got, want) {
			t.Fatalf("drifted:\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	drift()

	edit("KV_SESSION_DATA", func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Minute, time.Minute })
	edit("TASK_EXECUTION", func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy })
	harness.Must(t, js.DeleteStream(t.Context(), "AGENT_MESSAGES"))
	drift("stream TASK_EXECUTION: retention is limits, not interest", "stream AGENT_MESSAGES: missing",
		"consumer message-batch-processor: missing", "bucket SESSION_DATA: ttl is 1m0s, not 1h0m0s, duplicate_window is 1m0s, not 2m0s")
	_, err = p.Apply(t.Context())
	harness.Must(t, err)
	drift()

	kv, err := js.KeyValue(t.Context(), "TASK_STATE")
	harness.Must(t, err)
	edit("KV_TASK_STATE", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 9 })
	edit("KV_SESSION_DATA", func(c *jetstream.StreamConfig) { c.AllowRollup, c.DenyPurge = false, true })
	for i := range 8 {
		_, err := kv.Put(t.Context(), "t1", []byte(fmt.Sprint(i)))
		harness.Must(t, err)
	}
	plan, err := p.Apply(t.Context())
	harness.Must(t, err)
	if s := step(t, plan, topology.KindBucket, "TASK_STATE"); s.Action != topology.Refuse || !strings.Contains(s.Reason, "history: messages that the stream holds would be lost") {
		t.Errorf("TASK_STATE: %+v", s)
	}
	if s := step(t, plan, topology.KindBucket, "SESSION_DATA"); s.Action != topology.Refuse || !strings.Contains(s.Reason, "deny_purge") {
		t.Errorf("SESSION_DATA: %+v", s)
	}
	if history, err := kv.History(t.Context(), "t1"); err != nil || len(history) != 8 {
		t.Errorf("the history has %d values: %v", len(history), err)
	}
	drift("bucket SESSION_DATA: allow_rollup_hdrs is false, not true, deny_purge is true, not false", "bucket TASK_STATE: history is 9, not 5")
}

// TestOlderBucket: a bucket that an earlier version created gets its missing
// settings and keeps its values.
func TestOlderBucket(t *testing.T) {
	nc := own(t)
	cfg := hot.AgentStateBucket
	cfg.Embedded = true
	_, err := hot.OpenBucket(t.Context(), nc, cfg, slog.New(slog.DiscardHandler))
	harness.Must(t, err)
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	kv, err := js.KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	_, err = kv.Put(t.Context(), "a1.mood", []byte("1"))
	harness.Must(t, err)
	plan, err := planner(t, nc, document(t), topology.Options{Async: true}).Apply(t.Context())
	harness.Must(t, err)
	s := step(t, plan, topology.KindBucket, "AGENT_STATE")
	if s.Action != topology.Update || len(s.Diff) != 1 || s.Diff[0].Field != "republish" {
		t.Errorf("%+v", s)
	}
	if v, err := kv.Get(t.Context(), "a1.mood"); err != nil || string(v.Value()) != "1" {
		t.Errorf("the value is gone: %v", err)
	}
}

// TestConsumerDrift: a consumer is corrected as far as the server allows.
func TestConsumerDrift(t *testing.T) {
	nc := own(t)
	p := planner(t, nc, document(t), topology.Options{})
	_, err := p.Apply(t.Context())
	harness.Must(t, err)
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	c, err := js.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
	harness.Must(t, err)
	cfg := c.CachedInfo().Config
	cfg.MaxAckPending, cfg.Metadata = 7, map[string]string{"mine": "kept"}
	_, err = js.UpdateConsumer(t.Context(), "TASK_EXECUTION", cfg)
	harness.Must(t, err)
	harness.Must(t, js.DeleteConsumer(t.Context(), "AGENT_MESSAGES", "message-batch-processor"))
	_, err = js.CreateConsumer(t.Context(), "AGENT_MESSAGES", jetstream.ConsumerConfig{Durable: "message-batch-processor", DeliverPolicy: jetstream.DeliverNewPolicy})
	harness.Must(t, err)

	plan, err := p.Apply(t.Context())
	harness.Must(t, err)
	s := step(t, plan, topology.KindConsumer, "task-processor")
	if s.Action != topology.Update || len(s.Diff) != 2 {
		t.Errorf("task-processor: %+v", s)
	}
	if s := step(t, plan, topology.KindConsumer, "message-batch-processor"); s.Action != topology.Refuse || !strings.HasPrefix(s.Reason, "deliver_policy: ") {
		t.Errorf("message-batch-processor: %+v", s)
	}
	c, err = js.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
	harness.Must(t, err)
	got := c.CachedInfo().Config
	if got.MaxAckPending != 100 || got.Metadata["mine"] != "kept" || got.Metadata[topology.RateKey] != "1000" {
		t.Errorf("task-processor is %+v", got)
	}
}

// TestInterest: with interest retention the stream stores the subjects of
// task-processor until they are acknowledged, and no others, as the plan
// explains.
func TestInterest(t *testing.T) {
	nc := own(t)
	_, err := planner(t, nc, document(t), topology.Options{Async: true}).Apply(t.Context())
	harness.Must(t, err)
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	for _, subject := range []string{"tasks.created.t1", "tasks.started.t1.a1", "tasks.completed.t1"} {
		_, err := js.Publish(t.Context(), subject, nil)
		harness.Must(t, err)
	}
	s, err := js.Stream(t.Context(), "TASK_EXECUTION")
	harness.Must(t, err)
	if got := s.CachedInfo().State; got.Msgs != 1 || got.LastSeq != 3 {
		t.Errorf("the stream holds %d of 3 messages, last %d", got.Msgs, got.LastSeq)
	}
	c, err := js.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
	harness.Must(t, err)
	msg, err := c.Next()
	harness.Must(t, err)
	harness.Must(t, msg.DoubleAck(t.Context()))
	info, err := s.Info(t.Context())
	harness.Must(t, err)
	if info.State.Msgs != 0 {
		t.Errorf("an acked message is kept")
	}
}

// TestRepublish: subscribers receive each republished change, as the plan
// explains. A stream that captures the change also takes the expected sequence
// of the writer, and so refuses nearly every guarded write.
func TestRepublish(t *testing.T) {
	nc := own(t)
	_, err := planner(t, nc, document(t), topology.Options{Async: true}).Apply(t.Context())
	harness.Must(t, err)
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	live, err := nc.SubscribeSync("agents.state.kv.>")
	harness.Must(t, err)
	harness.Must(t, nc.Flush())
	kv, err := js.KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	_, err = js.Publish(t.Context(), "agents.heartbeat.a1", nil) // from here the two sequences differ
	harness.Must(t, err)
	rev, err := kv.Put(t.Context(), "a1.plain", []byte("1"))
	harness.Must(t, err)
	_, err = kv.Update(t.Context(), "a1.plain", []byte("2"), rev)
	harness.Must(t, err)
	_, err = kv.Put(t.Context(), "a1.plain", []byte("3"))
	harness.Must(t, err)
	for range 3 {
		_, err := live.NextMsg(5 * time.Second)
		harness.Must(t, err)
	}
	s, err := js.Stream(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	for s.CachedInfo().State.Msgs < 3 { // the server stores the last a moment after the publish
		_, err := s.Info(t.Context())
		harness.Must(t, err)
	}
	msg, err := s.GetMsg(t.Context(), s.CachedInfo().State.LastSeq)
	harness.Must(t, err)
	if string(msg.Data) != "3" || s.CachedInfo().State.Msgs != 3 {
		t.Errorf("the stream holds %d messages, last %q: the guarded one was to be refused", s.CachedInfo().State.Msgs, msg.Data)
	}
}

// TestSmallDisk: on a small disk the limits are smaller, the plan says so, and
// half stays for the journal. A larger disk is used later.
func TestSmallDisk(t *testing.T) {
	dir := t.TempDir()
	small := func(store int64) func(*server.Options) {
		return func(o *server.Options) { o.StoreDir, o.JetStreamMaxStore, o.MaxPayload = dir, store, mib }
	}
	srv := start(t, small(4<<30))
	nc := connect(t, srv.ClientURL())
	p := planner(t, nc, document(t), topology.Options{})
	plan, err := p.Apply(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Create) != 10 || plan.Refused() {
		t.Fatalf("applied:\n%s", plan.Text(false))
	}
	text := plan.Text(false)
	for _, want := range []string{"~ file: 16 GiB in all", "max_bytes 5 GiB => ", "~ max_payload: 1 MiB is less than stream TASK_EXECUTION, bucket AGENT_STATE may hold"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said in\n%s", want, text)
		}
	}
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	sum := int64(0)
	for _, name := range streams(t, nc) {
		s, err := js.Stream(t.Context(), name)
		harness.Must(t, err)
		if cfg := s.CachedInfo().Config; cfg.Storage == jetstream.FileStorage {
			sum += cfg.MaxBytes
		}
	}
	if sum < 1<<30 || sum > 2<<30 {
		t.Errorf("%d MiB are reserved, half of 4 GiB were to be shared out", sum/mib)
	}
	plan, err = p.Apply(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Unchanged) != 11 {
		t.Errorf("applied again:\n%s", plan.Text(false))
	}
	if plan, err = p.Inspect(t.Context()); err != nil || len(plan.Drift()) > 0 {
		t.Errorf("drift %q, %v", plan.Drift(), err)
	}
	nc.Close()
	srv.Shutdown()
	srv.WaitForShutdown()

	nc = connect(t, start(t, small(64<<30)).ClientURL())
	plan, err = planner(t, nc, document(t), topology.Options{}).Apply(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Update) != 6 || plan.Refused() {
		t.Errorf("with more disk:\n%s", plan.Text(false))
	}
}

// TestTinyDisk: a server with very little space takes the topology without
// limits.
func TestTinyDisk(t *testing.T) {
	nc := connect(t, start(t, func(o *server.Options) { o.JetStreamMaxStore, o.JetStreamMaxMemory = 24*mib, 24*mib }).ClientURL())
	plan, err := planner(t, nc, document(t), topology.Options{}).Apply(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Create) != 10 || plan.Refused() {
		t.Fatalf("applied:\n%s", plan.Text(false))
	}
}

// TestTaken: subjects of another stream, and the name of the journal, are
// refused with a reason.
func TestTaken(t *testing.T) {
	nc := own(t)
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MINE", Subjects: []string{"tasks.>"}})
	harness.Must(t, err)
	want := document(t)
	want.Streams = append(want.Streams, topology.Stream{Name: "EVENTS", Subjects: []string{"x"}})
	plan, err := planner(t, nc, want, topology.Options{}).Apply(t.Context())
	harness.Must(t, err)
	for kind, names := range map[topology.Kind]map[string]string{
		topology.KindStream: {
			"TASK_EXECUTION": "subject tasks.created.> belongs to stream MINE",
			"EVENTS":         "this is the engine's journal, which no topology may describe",
		},
		topology.KindConsumer: {"task-processor": "its stream TASK_EXECUTION does not exist and is not created"},
	} {
		for name, reason := range names {
			if s := step(t, plan, kind, name); s.Action != topology.Refuse || s.Reason != reason {
				t.Errorf("%s %s: %s, %q", kind, name, s.Action, s.Reason)
			}
		}
	}
	if plan.Count(topology.Create) != 8 {
		t.Errorf("the others are made all the same:\n%s", plan.Text(false))
	}
}

// TestPrefix: a subject prefix stands before the subjects of clients and feeds,
// not before those of KV.
func TestPrefix(t *testing.T) {
	nc := own(t)
	plan, err := planner(t, nc, document(t), topology.Options{Prefix: "acme"}).Apply(t.Context())
	harness.Must(t, err)
	if plan.Refused() {
		t.Fatal(plan.Text(false))
	}
	js, err := jetstream.New(nc)
	harness.Must(t, err)
	s, err := js.Stream(t.Context(), "KV_AGENT_STATE")
	harness.Must(t, err)
	if cfg := s.CachedInfo().Config; cfg.Subjects[0] != "$KV.AGENT_STATE.>" || cfg.RePublish.Destination != "acme.agents.state.kv.>" {
		t.Errorf("bucket AGENT_STATE: %q, %q", cfg.Subjects, cfg.RePublish.Destination)
	}
	c, err := js.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
	harness.Must(t, err)
	if got := c.CachedInfo().Config.FilterSubject; got != "acme.tasks.started.>" {
		t.Errorf("task-processor takes %q", got)
	}
}

// A server up to 2.15.2 removes the directory of all streams soon after the last
// stream, and may do so while it creates the next one, which then fails once.
// Here a file in the place of the directory makes the first try fail; the server
// reports the error on its advisory subject, and the test removes the file.
func TestCreateCrossesRemoval(t *testing.T) {
	for name, want := range map[string]topology.Topology{
		"while asking": {Streams: []topology.Stream{{Name: "ONE", Subjects: []string{"one"}, MaxBytes: mib}}},
		"while making": {Streams: []topology.Stream{{Name: "ONE", Subjects: []string{"one"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var dir string
			nc := connect(t, start(t, func(o *server.Options) { dir = o.StoreDir }).ClientURL())
			inTheWay := filepath.Join(dir, "jetstream", "$G", "streams")
			harness.Must(t, os.RemoveAll(inTheWay))
			harness.Must(t, os.MkdirAll(filepath.Dir(inTheWay), 0o700))
			harness.Must(t, os.WriteFile(inTheWay, nil, 0o600))
			failed := make(chan error, 1)
			_, err := nc.Subscribe(server.JSAuditAdvisory, func(m *nats.Msg) {
				if bytes.Contains(m.Data, []byte("10049")) { // JSStreamCreateErrF
					select {
					case failed <- os.Remove(inTheWay):
					default:
					}
				}
			})
			harness.Must(t, err)
			harness.Must(t, nc.Flush())
			plan, err := planner(t, nc, want, topology.Options{}).Apply(t.Context())
			harness.Must(t, err)
			if plan.Count(topology.Create) != 1 || plan.Refused() {
				t.Errorf("applied:\n%s", plan.Text(false))
			}
			select {
			case err := <-failed:
				harness.Must(t, err)
			default:
				t.Error("the first try did not fail")
			}
		})
	}
}
