package topology

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
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

// TestSmallDisk: on a small disk the limits are smaller, the plan says so, and
// half stays for the journal. A larger disk is used later.
func TestSmallDisk(t *testing.T) {
	dir := t.TempDir()
	small := func(store int64) func(*server.Options) {
		return func(o *server.Options) { o.StoreDir, o.JetStreamMaxStore, o.MaxPayload = dir, store, mib }
	}
	srv := start(t, small(4<<30))
	nc := support.Connect(t, srv.ClientURL())
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
	js, err := jetstream.New(nc, harness.Patient)
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

	nc = support.Connect(t, start(t, small(64<<30)).ClientURL())
	plan, err = planner(t, nc, document(t), topology.Options{}).Apply(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Update) != 6 || plan.Refused() {
		t.Errorf("with more disk:\n%s", plan.Text(false))
	}
}

// TestTinyDisk: a server with very little space takes the topology without
// limits.
func TestTinyDisk(t *testing.T) {
	nc := support.Connect(t, start(t, func(o *server.Options) { o.JetStreamMaxStore, o.JetStreamMaxMemory = 24*mib, 24*mib }).ClientURL())
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
	js, err := jetstream.New(nc, harness.Patient)
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
	js, err := jetstream.New(nc, harness.Patient)
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
			nc := support.Connect(t, start(t, func(o *server.Options) { dir = o.StoreDir }).ClientURL())
			inTheWay := filepath.Join(dir, "jetstream", "$G", "streams")
			harness.Must(t, os.RemoveAll(inTheWay))
			harness.Must(t, os.MkdirAll(filepath.Dir(inTheWay), 0o700))
			harness.Must(t, os.WriteFile(inTheWay, nil, 0o600))
			failed := make(chan error, 1)
			_, err := nc.Subscribe(server.JSAuditAdvisory, func(m *nats.Msg) {
				if bytes.Contains(m.Data, []byte(":10049")) { // JSStreamCreateErrF
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
