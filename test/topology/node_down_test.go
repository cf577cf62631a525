package topology

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestStartWithoutOneServer: on a cluster of three whose servers do not advertise one
// another, every stream that holds state has three replicas. While the server of a
// bucket with one replica is down the engine starts, works, and says what is missing.
func TestStartWithoutOneServer(t *testing.T) {
	t.Parallel()
	all := servers(t, 3, home, tags, func(o *server.Options) { o.Cluster.NoAdvertise = true })
	js, err := jetstream.New(support.Connect(t, all[0].ClientURL()), harness.Patient)
	harness.Must(t, err)
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--nats", all[0].ClientURL()}})
	e.Stop()
	for _, name := range []string{"EVENTS", "COMMANDS", "OUTCOMES", "DEAD_LETTERS", "TIMERS", "KV_TIDEMARK_QUARANTINE", "KV_TIDEMARK_LEASES", "KV_AGENT_STATE"} {
		s, err := js.Stream(t.Context(), name)
		harness.Must(t, err)
		if n := s.CachedInfo().Config.Replicas; n != 3 {
			t.Errorf("%s has %d replicas", name, n)
		}
	}
	cache, err := js.Stream(t.Context(), "KV_QUERY_CACHE")
	harness.Must(t, err)
	down := slices.IndexFunc(all, func(s *server.Server) bool { return s.Name() == cache.CachedInfo().Cluster.Leader })
	all[down].Shutdown()
	all[down].WaitForShutdown()
	all = slices.Delete(all, down, down+1)
	harness.Eventually(t, "the cluster has a leader", func() bool { return all[0].JetStreamIsLeader() || all[1].JetStreamIsLeader() })
	nc := support.Connect(t, all[0].ClientURL())
	e = harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--nats", all[0].ClientURL()}})
	do(t, nc, "agent.a1.set", `{"key":"k","value":1}`)
	harness.Eventually(t, "the status says what is missing", func() error {
		var s struct{ Topology struct{ Engine []string } }
		r := e.Run("status", "--json")
		if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
			return err
		}
		if !strings.Contains(strings.Join(s.Topology.Engine, "\n"), "bucket QUERY_CACHE: all servers that hold it are down") {
			return fmt.Errorf("%q", s.Topology.Engine)
		}
		return nil
	})
}
