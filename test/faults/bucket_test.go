package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestBucketLost deletes the hot bucket. The bucket is a fold of the journal,
// so the next start restores it byte for byte.
func TestBucketLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(t *testing.T, e *harness.Engine, c *harness.Client) // ends with the engine stopped
	}{
		{"its files, while the engine is stopped", func(t *testing.T, e *harness.Engine, _ *harness.Client) {
			e.Stop()
			at, err := filepath.Glob(filepath.Join(e.Data, "nats", "jetstream", "*", "streams", "KV_AGENT_STATE"))
			if err != nil || len(at) != 1 {
				t.Fatalf("the bucket's files: %v %v", at, err)
			}
			harness.Must(t, os.RemoveAll(at[0]))
		}},
		{"its stream, by an operator, then a clean stop", func(t *testing.T, e *harness.Engine, _ *harness.Client) {
			harness.Must(t, e.OperatorJetStream(t).DeleteStream(t.Context(), "KV_AGENT_STATE"))
			e.Stop()
		}},
		{"its stream, by an operator, then more writes and a kill", func(t *testing.T, e *harness.Engine, c *harness.Client) {
			harness.Must(t, e.OperatorJetStream(t).DeleteStream(t.Context(), "KV_AGENT_STATE"))
			for n := range 20 { // commands need no bucket
				c.MustSet(t, "agent1", fmt.Sprintf("k%d", n), "meanwhile", nil)
				if got := c.MustGet(t, "agent1", fmt.Sprintf("k%d", n), harness.M{"consistency": "strong"}); string(got.Value) != `"meanwhile"` {
					t.Errorf("a strong read without the bucket: %+v", got)
				}
			}
			e.Kill()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := harness.Start(t, harness.Config{})
			client := e.Client(t)
			for n := range 100 {
				client.MustSet(t, fmt.Sprintf("agent%d", n%5), fmt.Sprintf("k%d", n/5), map[string]any{"n": n, "s": " <é> "}, nil)
			}
			_, err := client.Command(t.Context(), "commands.agent.agent0.delete", "", harness.M{"key": "k0"})
			harness.Must(t, err)
			client.CheckAll(t)
			before := client.KV(t)
			c.lose(t, e, client)
			e.Restart()
			client.CaughtUp(t)
			after := client.KV(t)
			for name := range before { // CheckAll compares the later writes
				if string(after[name].Value) == `"meanwhile"` {
					before[name] = after[name]
				}
			}
			if d := cmp.Diff(before, after); d != "" {
				t.Errorf("the bucket came back as another one: %s", d)
			}
			for name, row := range after {
				var n, k int
				_, err := fmt.Sscanf(name, "agent%d.k%d", &n, &k)
				harness.Must(t, err)
				got := client.MustGet(t, fmt.Sprintf("agent%d", n), fmt.Sprintf("k%d", k), harness.M{"consistency": "hot"})
				if got.Source != "kv" || got.Revision != row.Revision || string(got.Value) != string(row.Value) {
					t.Errorf("hot read of %s: %+v, the bucket has %s", name, got, row)
				}
			}
			if _, err := client.Get(t.Context(), "agent0", "k0", harness.M{"consistency": "hot"}); harness.Refused(err) == nil {
				t.Errorf("the deleted entry is read: %v", err)
			}
			client.MustSet(t, "agent0", "k0", "new", nil)
			client.CheckAll(t)
			e.Verify()
		})
	}
}
