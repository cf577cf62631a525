package topology

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestDrift: the plan shows and corrects changes that were made on the server.
// A step that the server refuses, or that would lose messages, is refused and
// changes nothing.
func TestDrift(t *testing.T) {
	nc := own(t)
	p := planner(t, nc, document(t), topology.Options{Async: true})
	_, err := p.Apply(t.Context())
	harness.Must(t, err)
	js, err := jetstream.New(nc, harness.Patient)
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
	js, err := jetstream.New(nc, harness.Patient)
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
	js, err := jetstream.New(nc, harness.Patient)
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
	js, err := jetstream.New(nc, harness.Patient)
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
	js, err := jetstream.New(nc, harness.Patient)
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
