package topology

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidemark-engine/tidemark/config"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func document(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/document.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The blocks of the document parse alike as one YAML document or as several,
// and the default topology is equal to them.
func TestParseDocument(t *testing.T) {
	text := string(document(t))
	one, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(one.Streams) != 3 || len(one.Buckets) != 5 || len(one.Consumers) != 3 {
		t.Fatalf("%d streams, %d buckets, %d consumers", len(one.Streams), len(one.Buckets), len(one.Consumers))
	}
	documents := strings.NewReplacer("# KV Bucket Conf", "---\n# KV Bucket Conf", "# Durable Consumer", "---\n# Durable Consumer").Replace(text)
	for name, other := range map[string][]byte{"three documents": []byte("---\n" + documents + "---\n"), "the default": config.Topology} {
		got, err := Parse(other)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(one, got, cmpopts.IgnoreUnexported(Consumer{})); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	want := Bucket{
		Bucket: "AGENT_STATE", Description: "Fast access agent state cache", TTL: Duration(30 * time.Minute), Storage: "file",
		Replicas: 3, History: 3, MaxValueSize: 2 << 20, MaxBytes: 5 << 30, Compression: "s2",
		Placement: &Placement{Cluster: "ms-framework-cluster", Tags: []string{"agent-state", "critical"}},
		Republish: &Republish{Dest: "agents.state.kv.>"}, // an unquoted > is folded text
	}
	if diff := cmp.Diff(want, one.Buckets[1]); diff != "" {
		t.Error(diff)
	}
	zero := uint64(0)
	processor := Consumer{
		Key: "task_processor_consumer", Stream: "TASK_EXECUTION", Name: "task-processor", Description: "Processes task execution events",
		DeliverPolicy: "all", AckPolicy: "explicit", AckWait: Duration(30 * time.Second), MaxDeliver: 3, RateLimit: 1000,
		MaxAckPending: 100, FilterSubject: "tasks.started.>", ReplayPolicy: "instant", StartSequence: &zero, nullTime: true,
	}
	if diff := cmp.Diff(processor, one.Consumers[0], cmp.AllowUnexported(Consumer{})); diff != "" {
		t.Error(diff)
	}
	if one.Consumers[1].Name != "" || one.Streams[0].MaxAge != Duration(time.Hour) {
		t.Errorf("%+v, %+v", one.Consumers[1], one.Streams[0])
	}
}

func TestParseValues(t *testing.T) {
	got, err := Parse([]byte(`
a: {name: A, subjects: [a], max_age: 90m, duplicate_window: 30}
b: {bucket: B, republish: {src: ">", dest: x.>}}
c: {stream: A, name: c, deliver_policy: by_start_time, start_time: 2026-01-02T03:04:05Z}
d: {stream: A, name: d, deliver_policy: by_start_sequence, start_sequence: 9, ack_wait: 1m30s}
`))
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Streams[0]; s.MaxAge != Duration(90*time.Minute) || s.DuplicateWindow != Duration(30*time.Second) {
		t.Errorf("%+v", s)
	}
	if got.Buckets[0].Republish.Src != ">" {
		t.Errorf("%+v", got.Buckets[0].Republish)
	}
	if at := got.Consumers[0].StartTime; at == nil || !at.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("start_time %v", at)
	}
	if c := got.Consumers[1]; *c.StartSequence != 9 || c.AckWait != Duration(90*time.Second) {
		t.Errorf("%+v", c)
	}
}

// Errors name the place of what Parse does not understand.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, yaml, say string }{
		{"empty", "", "names no stream"},
		{"only a comment", "# nothing\n", "names no stream"},
		{"no YAML", "a: [", "line 1"},
		{"no map", "- a\n", "line 1: expected a map of names"},
		{"no fields", "a: 3\n", "line 1, a: expected the fields"},
		{"null", "a:\n", "line 1, a: expected the fields"},
		{"no kind", "a: {name: A}\n", "exactly one of the fields subjects"},
		{"two kinds", "a: {bucket: B, stream: A}\n", "exactly one of the fields subjects"},
		{"unknown field", "a:\n  name: A\n  subjects: [a]\n  max_agee: 1\n", `line 4: unknown field "max_agee"`},
		{"unknown field below", "a:\n  bucket: B\n  placement:\n    zone: z\n", `line 4: unknown field "zone"`},
		{"another kind's field", "a: {bucket: B, max_age: 1}\n", `unknown field "max_age"`},
		{"wrong type", "a: {name: A, subjects: [a], max_msgs: many}\n", "line 1, a: line 1: "},
		{"overflow", "a: {name: A, subjects: [a], max_msg_size: 4294967296}\n", "line 1, a: line 1: "},
		{"bad duration", "a: {name: A, subjects: [a], max_age: soon}\n", `"soon" is no duration`},
		{"fraction", "a: {name: A, subjects: [a], max_age: 1.5}\n", "1.5 is no duration"},
		{"negative duration", "a: {name: A, subjects: [a], max_age: -5s}\n", "cannot be negative"},
		{"negative seconds", "a: {name: A, subjects: [a], max_age: -5}\n", "is no duration"},
		{"endless", "a: {name: A, subjects: [a], max_age: 99999999999999999}\n", "too long"},
		{"bad word", "a: {name: A, subjects: [a], storage: tape}\n", `storage: "tape" is not one of file, memory`},
		{"negative limit", "a: {name: A, subjects: [a], max_bytes: -7}\n", "max_bytes: -7 is negative"},
		{"replicas", "a: {name: A, subjects: [a], replicas: 6}\n", "replicas: 6 is not between 1 and 5"},
		{"history", "a: {bucket: B, history: 65}\n", "history: 65 is not between 1 and 64"},
		{"no name", "a: {subjects: [a]}\n", `name ""`},
		{"no subjects", "a: {name: A, subjects: []}\n", "at least one"},
		{"bucket name", "a: {bucket: a.b}\n", `bucket "a.b"`},
		{"republish", "a: {bucket: B, republish: {src: x}}\n", "republish: dest"},
		{"sequence", "a: {stream: A, name: a, deliver_policy: all, start_sequence: 4}\n", "by_start_sequence"},
		{"no sequence", "a: {stream: A, name: a, deliver_policy: by_start_sequence, start_sequence: 0}\n", "start_sequence"},
		{"no sequence at all", "a: {stream: A, name: a, deliver_policy: by_start_sequence}\n", "start_sequence"},
		{"no time", "a: {stream: A, name: a, deliver_policy: by_start_time}\n", "start_time"},
		{"twice", "a: {bucket: B}\nb: {bucket: B}\n", "line 2, b: bucket B is already defined in line 1"},
		{"twice, in two documents", "a: {bucket: B}\n---\na: {bucket: B}\n", "line 3, a: bucket B is already defined in line 1"},
		{"the journal", "a: {name: EVENTS, subjects: [a]}\n", `line 1, a: name "EVENTS"`},
		{"a partition", "a: {name: EVENTS_3, subjects: [a]}\n", `name "EVENTS_3"`},
		{"the queue", "a: {name: COMMANDS, subjects: [a]}\n", `name "COMMANDS"`},
		{"the timers", "a: {name: TIMERS, subjects: [a]}\n", `name "TIMERS"`},
		{"a bucket's stream", "a: {name: KV_AGENT_STATE, subjects: [a]}\n", `name "KV_AGENT_STATE"`},
		{"the engine's bucket", "a: {bucket: TIDEMARK_LEASES}\n", `bucket "TIDEMARK_LEASES"`},
		{"a consumer of the queue", "a: {stream: COMMANDS, name: a}\n", `stream "COMMANDS"`},
		{"events", "a: {name: A, subjects: [x, events.>]}\n", `line 1, a: subjects: "events.>" overlaps events.>`},
		{"an event", "a: {name: A, subjects: [events.agent.a1.state.k]}\n", "overlaps events.>"},
		{"commands", "a: {name: A, subjects: [commands.agent.>]}\n", "overlaps commands.>"},
		{"enqueue", "a: {name: A, subjects: [enqueue.*.*.*]}\n", "overlaps enqueue.>"},
		{"queries", "a: {name: A, subjects: [queries.>]}\n", "overlaps queries.>"},
		{"everything", "a: {name: A, subjects: ['>']}\n", "overlaps"},
		{"a wildcard first", "a: {name: A, subjects: ['*.agent.>']}\n", "overlaps events.>"},
		{"the API", "a: {name: A, subjects: [$JS.API.>]}\n", "overlaps $…"},
		{"a bucket's subjects", "a: {name: A, subjects: [$KV.AGENT_STATE.>]}\n", "overlaps $…"},
		{"republish to the API", "a: {bucket: B, republish: {src: '>', dest: $JS.API.STREAM.DELETE.EVENTS}}\n", "republish: dest"},
		{"republish to commands", "a: {bucket: B, republish: {src: '*.*', dest: 'commands.{{wildcard(1)}}.x'}}\n", "overlaps commands.>"},
		{"republish anywhere", "a: {bucket: B, republish: {src: '*.*', dest: '{{wildcard(1)}}.x'}}\n", "overlaps events.>"},
		{"a key twice", "a: {bucket: B}\na: {bucket: C}\n", "line 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.yaml))
			if err == nil || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, c.say)
			}
		})
	}
}
