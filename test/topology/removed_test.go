package topology

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// removed are the streams that hold what the engine can make again.
var removed = []string{
	"TIMERS", "COMMANDS", "OUTCOMES", "DEAD_LETTERS", "AGENT_STATE", "TASK_EXECUTION", "AGENT_MESSAGES",
	"KV_AGENT_STATE", "KV_TASK_STATE", "KV_SESSION_DATA", "KV_AGENT_CONFIG", "KV_REMINDER_STATE", "KV_QUERY_CACHE", "KV_TIDEMARK_QUARANTINE", "KV_TIDEMARK_LEASES",
}

// TestRemovedWhileRunning removes every stream and bucket but the journal from an
// engine on an external server. Without a restart the engine makes them again as
// they were, fills them, keeps its deadlines and its views, and takes durable
// commands. A bucket that another program makes again gets its settings back.
func TestRemovedWhileRunning(t *testing.T) {
	nc := support.Connect(t, start(t, func(*server.Options) {}).ClientURL())
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--nats", nc.ConnectedUrl()}})
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	deadline := time.Now().Add(4 * time.Second).UTC().Format(time.RFC3339Nano)
	do(t, nc, "agent.a1.set", `{"key":"k","value":1}`)
	do(t, nc, "task.t1.create", `{"kind":"x","deadline":"`+deadline+`"}`)
	do(t, nc, "config.a1.set", `{"key":"k","value":1}`)
	do(t, nc, "reminder.r1.set", `{"at":"`+deadline+`","command":{"subject":"agent.reminded.set","body":{"key":"k","value":1}}}`)
	harness.Eventually(t, "the views are written", func() error { _, err := value(t, js, "AGENT_STATE", "a1.k"); return err })

	harness.Eventually(t, "only the reader of the journal and the watch of the quarantine are left", func() error {
		if left := ephemerals(t, js); len(left) > 2 {
			return fmt.Errorf("%q", left)
		}
		return nil
	})

	was := map[string]jetstream.StreamConfig{}
	for _, name := range removed {
		s, err := js.Stream(t.Context(), name)
		harness.Mustf(t, err, "%s", name)
		was[name] = withoutStart(s.CachedInfo().Config)
		harness.Must(t, js.DeleteStream(t.Context(), name))
	}
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "AGENT_STATE"})
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) { // the engine may have been faster
		t.Fatal(err)
	}
	for _, name := range removed {
		harness.Eventually(t, name+" is made again", func() error {
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				return err
			}
			if got, want := text(withoutStart(s.CachedInfo().Config)), text(was[name]); got != want {
				return fmt.Errorf("%s\nwas %s", got, want)
			}
			return nil
		})
	}
	for bucket, key := range map[string]string{"AGENT_STATE": "a1.k", "AGENT_CONFIG": "a1.k", "TASK_STATE": "t1", "REMINDER_STATE": "r1"} {
		harness.Eventually(t, bucket+" is filled again", func() error { _, err := value(t, js, bucket, key); return err })
	}
	harness.Eventually(t, "the feed is written again", func() error {
		s, err := js.Stream(t.Context(), "AGENT_STATE")
		if err == nil {
			_, err = s.GetLastMsgForSubject(t.Context(), "agents.state.a1.k")
		}
		return err
	})
	harness.Eventually(t, "consumers are made again", func() error {
		_, err := js.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
		return err
	})
	harness.Eventually(t, "a durable command is executed", func() error {
		if _, err := js.Publish(t.Context(), "enqueue.agent.a2.set", []byte(`{"key":"k","value":2}`), jetstream.WithMsgID("removed-1")); err != nil {
			return err
		}
		_, err := value(t, js, "AGENT_STATE", "a2.k")
		return err
	})
	harness.Eventually(t, "the reminder fires", func() error { _, err := value(t, js, "AGENT_STATE", "reminded.k"); return err })
	harness.Eventually(t, "the deadline ends the task", func() error {
		v, err := value(t, js, "TASK_STATE", "t1")
		if err == nil && !strings.Contains(v, `"cancelled"`) {
			err = errors.New(v)
		}
		return err
	})
	kv, err := js.KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	w, err := kv.Watch(t.Context(), "a1.*", jetstream.UpdatesOnly())
	harness.Must(t, err)
	e.Stop()
	harness.Must(t, js.DeleteStream(t.Context(), "KV_AGENT_STATE"))
	e.Restart()
	row := harness.Receive(t, "a watch on a bucket that was removed while the engine was down", w.Updates())
	if row.Key() != "a1.k" || row.Operation() != jetstream.KeyValuePut {
		t.Errorf("the watch delivers %+v", row)
	}
	harness.Eventually(t, "the status shows no problem", func() error {
		var s struct {
			Topology struct{ Engine, Drifted []string }
			Views    []struct{ Name, State string }
		}
		if err := json.Unmarshal([]byte(e.Run("status", "--json").Stdout), &s); err != nil {
			return err
		}
		for _, v := range s.Views {
			if v.State != "running" {
				return fmt.Errorf("view %s is %s", v.Name, v.State)
			}
		}
		if len(s.Topology.Engine)+len(s.Topology.Drifted) > 0 {
			return fmt.Errorf("%q %q", s.Topology.Engine, s.Topology.Drifted)
		}
		return nil
	})
}

// ephemerals are the streams of all consumers that are not durable.
func ephemerals(t *testing.T, js jetstream.JetStream) (of []string) {
	t.Helper()
	for _, name := range append([]string{"EVENTS"}, removed...) {
		s, err := js.Stream(t.Context(), name)
		harness.Must(t, err)
		list := s.ListConsumers(t.Context())
		for c := range list.Info() {
			if c.Config.Durable == "" {
				of = append(of, name)
			}
		}
		harness.Must(t, list.Err())
	}
	return of
}

// do executes a command that must succeed.
func do(t *testing.T, nc *nats.Conn, command, body string) {
	t.Helper()
	reply, err := nc.Request("commands."+command, []byte(body), 20*time.Second)
	harness.Must(t, err)
	if text := reply.Header.Get("Nats-Service-Error"); text != "" {
		t.Fatalf("%s: %s", command, text)
	}
}

// text is a configuration without what the server sets.
func text(c jetstream.StreamConfig) string {
	c.Metadata = nil
	body, _ := json.Marshal(c)
	return string(body)
}

// value reads a key of a bucket.
func value(t *testing.T, js jetstream.JetStream, bucket, key string) (string, error) {
	t.Helper()
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		return "", err
	}
	v, err := kv.Get(t.Context(), key)
	if err != nil {
		return "", err
	}
	return string(v.Value()), nil
}

// withoutStart removes the first sequence, with which a stream begins beyond those of an earlier
// one.
func withoutStart(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.FirstSeq = 0
	return cfg
}
