package topology

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/test/harness"
)

const home = "ms-framework-cluster"

// TestClusterAsWritten: three servers with the name and tags of the cluster
// create the whole topology exactly as the document says.
func TestClusterAsWritten(t *testing.T) {
	nc := cluster(t, 3, home, tags)
	p := planner(t, nc, document(t), topology.Options{})
	plan, err := p.Plan(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Create) != 10 || plan.Refused() {
		t.Fatalf("the plan:\n%s", plan.Text(false))
	}
	if got := streams(t, nc); len(got) > 0 {
		t.Fatalf("a plan left streams behind: %q", got)
	}
	for _, s := range plan.Steps {
		for _, m := range s.Mappings {
			if slices.Contains([]string{"replicas", "placement", "max_bytes", "persist_mode"}, m.Field) {
				t.Errorf("%s %s is not as written: %+v", s.Kind, s.Name, m)
			}
		}
	}
	plan, err = p.Apply(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Create) != 10 || plan.Refused() {
		t.Fatalf("applied:\n%s", plan.Text(false))
	}
	asWritten(t, nc)
	plan, err = planner(t, nc, document(t), topology.Options{}).Apply(t.Context())
	harness.Must(t, err)
	if plan.Count(topology.Unchanged) != 11 {
		t.Errorf("applied again:\n%s", plan.Text(false))
	}
}

// asWritten compares a copy of the document, written by hand, with the servers.
func asWritten(t *testing.T, nc *nats.Conn) {
	t.Helper()
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	for _, want := range append(slices.Clone(seedStreams), wantBuckets()...) {
		s, err := js.Stream(t.Context(), want.Name)
		harness.Must(t, err)
		got := s.CachedInfo().Config
		got.Metadata = nil // added by the server
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (- written, + in force):\n%s", want.Name, diff)
		}
		if c := s.CachedInfo().Cluster; c == nil || len(c.Replicas) != want.Replicas-1 || c.Name != home {
			t.Errorf("%s has cluster %+v", want.Name, c)
		}
	}
	for _, want := range seedConsumers {
		stream := "TASK_EXECUTION"
		if want.Name == "message-batch-processor" {
			stream = "AGENT_MESSAGES"
		}
		c, err := js.Consumer(t.Context(), stream, want.Name)
		harness.Must(t, err)
		got := c.CachedInfo().Config
		if want.MaxAckPending == 0 {
			want.MaxAckPending = 1000 // the server's default
		}
		if got.Metadata[topology.RateKey] != want.Metadata[topology.RateKey] {
			t.Errorf("%s: rate %q", want.Name, got.Metadata[topology.RateKey])
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(jetstream.ConsumerConfig{}, "Metadata", "MaxWaiting")); diff != "" {
			t.Errorf("%s (- written, + in force):\n%s", want.Name, diff)
		}
	}
}

func at(tags ...string) *jetstream.Placement { return &jetstream.Placement{Cluster: home, Tags: tags} }

var seedStreams = []jetstream.StreamConfig{
	{
		Name: "AGENT_STATE", Description: "Agent state changes and lifecycle events",
		Subjects: []string{"agents.state.>", "agents.lifecycle.>", "agents.heartbeat.>"}, Storage: jetstream.FileStorage,
		MaxAge: time.Hour, MaxMsgs: 1000000, MaxBytes: 2147483648, MaxMsgSize: 1048576, Replicas: 3,
		Placement: at("agent-state", "critical"), Duplicates: 2 * time.Minute, AllowRollup: true, MaxConsumers: -1, MaxMsgsPerSubject: -1,
	}, {
		Name: "TASK_EXECUTION", Description: "Task lifecycle events and execution tracking",
		Subjects: []string{"tasks.created.>", "tasks.started.>", "tasks.completed.>", "tasks.failed.>", "tasks.cancelled.>"},
		Storage:  jetstream.FileStorage, Retention: jetstream.InterestPolicy,
		MaxAge: 24 * time.Hour, MaxMsgs: 10000000, MaxBytes: 5368709120, MaxMsgSize: 5242880, Replicas: 3,
		Placement: at("task-execution", "audit"), Duplicates: 5 * time.Minute, MaxConsumers: -1, MaxMsgsPerSubject: -1,
	}, {
		Name: "AGENT_MESSAGES", Description: "Inter-agent communication and messaging",
		Subjects: []string{"messages.direct.>", "messages.broadcast.>", "messages.notification.>"}, Storage: jetstream.MemoryStorage,
		MaxAge: 5 * time.Minute, MaxMsgs: 100000, MaxBytes: 104857600, MaxMsgSize: 262144, Replicas: 1,
		Placement: at("messaging", "ephemeral"), Duplicates: 2 * time.Minute, MaxConsumers: -1, MaxMsgsPerSubject: -1,
	},
}

// wantBuckets are the five buckets with the settings that every KV client adds
// (ADR-8).
func wantBuckets() []jetstream.StreamConfig {
	all := []jetstream.StreamConfig{
		{
			Name: "SESSION_DATA", Description: "Temporary user and agent session storage", MaxAge: time.Hour, Replicas: 3,
			MaxMsgsPerSubject: 1, MaxMsgSize: 1048576, MaxBytes: 1073741824, Placement: at("session-data", "user-state"),
			Compression: jetstream.S2Compression,
		}, {
			Name: "AGENT_STATE", Description: "Fast access agent state cache", MaxAge: 30 * time.Minute, Replicas: 3,
			MaxMsgsPerSubject: 3, MaxMsgSize: 2097152, MaxBytes: 5368709120, Placement: at("agent-state", "critical"),
			Compression: jetstream.S2Compression, RePublish: &jetstream.RePublish{Source: ">", Destination: "agents.state.kv.>"},
		}, {
			Name: "AGENT_CONFIG", Description: "Agent configuration and persistent settings", Replicas: 3,
			MaxMsgsPerSubject: 10, MaxMsgSize: 524288, MaxBytes: 1073741824, Placement: at("configuration", "persistent"),
			Compression: jetstream.S2Compression,
		}, {
			Name: "QUERY_CACHE", Description: "Temporary query result cache", MaxAge: 5 * time.Minute, Replicas: 1,
			Storage: jetstream.MemoryStorage, MaxMsgsPerSubject: 1, MaxMsgSize: 1048576, MaxBytes: 268435456,
			Placement: at("cache", "ephemeral"),
		}, {
			Name: "TASK_STATE", Description: "Task execution state and progress tracking", MaxAge: 2 * time.Hour, Replicas: 3,
			MaxMsgsPerSubject: 5, MaxMsgSize: 1048576, MaxBytes: 2147483648, Placement: at("task-state", "execution"),
			Compression: jetstream.S2Compression,
		},
	}
	for i := range all {
		c := &all[i]
		c.Subjects = []string{"$KV." + c.Name + ".>"}
		c.Name = "KV_" + c.Name
		c.MaxMsgs, c.MaxConsumers, c.Duplicates = -1, -1, 2*time.Minute
		c.Discard, c.AllowRollup, c.DenyDelete, c.AllowDirect = jetstream.DiscardNew, true, true, true
	}
	return all
}

var seedConsumers = []jetstream.ConsumerConfig{
	{
		Name: "task-processor", Durable: "task-processor", Description: "Processes task execution events",
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxDeliver: 3,
		MaxAckPending: 100, FilterSubject: "tasks.started.>", ReplayPolicy: jetstream.ReplayInstantPolicy,
		Metadata: map[string]string{topology.RateKey: "1000"},
	}, {
		Name: "message-batch-processor", Durable: "message-batch-processor", Description: "Batch processing of agent messages",
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxDeliver: 5,
		MaxRequestBatch: 100, MaxRequestExpires: 30 * time.Second, MaxRequestMaxBytes: 1048576,
	},
}

// TestClusterElsewhere: a plan for a cluster of another name, or without the
// tags, says so before it creates anything. The default topology drops its
// placement.
func TestClusterElsewhere(t *testing.T) {
	for _, c := range []struct {
		name, cluster string
		tags          []string
		say           string // part of the check
	}{
		{"another name", "elsewhere", tags, `placement ms-framework-cluster [agent-state, critical]`},
		{"no tags", home, nil, "tags not matched"},
		{"one tag is missing", home, slices.DeleteFunc(slices.Clone(tags), func(s string) bool { return s == "audit" }), "tags not matched ['audit']"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc := cluster(t, 3, c.cluster, c.tags)
			plan, err := planner(t, nc, document(t), topology.Options{}).Apply(t.Context())
			if !errors.Is(err, topology.ErrStopped) || plan.Stopped() == nil {
				t.Fatalf("applied, %v:\n%s", err, plan.Text(false))
			}
			if stop := plan.Stopped(); stop.Name != "peers and tags" || !strings.Contains(stop.Text, c.say) {
				t.Errorf("the check says %s: %s", stop.Name, stop.Text)
			}
			if got := streams(t, nc); len(got) > 0 {
				t.Errorf("created all the same: %q", got)
			}
			if c.name == "no tags" {
				return // as for another name
			}
			lenient := planner(t, nc, document(t), topology.Options{Lenient: true})
			plan, err = lenient.Apply(t.Context())
			harness.Must(t, err)
			if plan.Count(topology.Create) != 10 || plan.Refused() {
				t.Fatalf("without placement:\n%s", plan.Text(false))
			}
			if plan, err = lenient.Inspect(t.Context()); err != nil || len(plan.Drift()) > 0 {
				t.Errorf("drift %q, %v", plan.Drift(), err)
			}
		})
	}
}

// TestClusterTooSmall: so does a plan for servers that are too small for one
// stream.
func TestClusterTooSmall(t *testing.T) {
	nc := cluster(t, 3, home, tags, func(o *server.Options) { o.JetStreamMaxStore = 1 << 30 })
	plan, err := planner(t, nc, document(t), topology.Options{}).Apply(t.Context())
	if !errors.Is(err, topology.ErrStopped) || !strings.Contains(plan.Stopped().Text, "insufficient storage") {
		t.Fatalf("applied, %v:\n%s", err, plan.Text(false))
	}
	if got := streams(t, nc); len(got) > 0 {
		t.Errorf("created all the same: %q", got)
	}
}

// TestClusterOfTwo: two servers hold two replicas of three, and the plan says
// so.
func TestClusterOfTwo(t *testing.T) {
	nc := cluster(t, 2, home, tags)
	p := planner(t, nc, document(t), topology.Options{})
	plan, err := p.Apply(t.Context())
	harness.Must(t, err)
	s := step(t, plan, topology.KindStream, "TASK_EXECUTION")
	if plan.Refused() || !slices.ContainsFunc(s.Mappings, func(m topology.Mapping) bool { return m.Field == "replicas" && m.InForce == "2" }) {
		t.Fatalf("applied:\n%s", plan.Text(false))
	}
	if plan, err = p.Apply(t.Context()); err != nil || plan.Count(topology.Unchanged) != 11 {
		t.Errorf("applied again, %v:\n%s", err, plan.Text(false))
	}
}
