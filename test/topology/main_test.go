// Package topology tests plan and apply of the topology document on NATS
// servers: the embedded one, small ones, and a cluster of three.
package topology

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// documentFile holds the three YAML blocks of the document, unchanged.
var documentFile = filepath.Join("..", "..", "infra", "natsio", "topology", "testdata", "document.yaml")

const mib = 1 << 20

// tags are all tags in the placements of the document.
var tags = []string{
	"agent-state", "critical", "task-execution", "audit", "messaging", "ephemeral", "session-data", "user-state",
	"configuration", "persistent", "cache", "task-state", "execution",
}

func document(t *testing.T) topology.Topology {
	t.Helper()
	text, err := os.ReadFile(documentFile)
	harness.Must(t, err)
	want, err := topology.Parse(text)
	harness.Must(t, err)
	return want
}

// own starts the embedded server and connects with the engine's rights.
func own(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Synced: true, Log: slog.New(slog.DiscardHandler)})
	harness.Must(t, err)
	t.Cleanup(s.Stop)
	return support.Connect(t, s.URL(), s.Options()...)
}

// start runs one server with JetStream and the options that change sets.
func start(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 30, JetStreamMaxMemory: 1 << 30, MaxPayload: 8 * mib,
	}
	change(opts)
	s, err := server.NewServer(opts)
	harness.Must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("a server does not take connections")
	}
	return s
}

// cluster starts n servers of one cluster and waits until JetStream answers.
func cluster(t *testing.T, n int, name string, tags []string, more ...func(*server.Options)) *nats.Conn {
	t.Helper()
	return support.Connect(t, servers(t, n, name, tags, more...)[0].ClientURL())
}

// servers are those of cluster.
func servers(t *testing.T, n int, name string, tags []string, more ...func(*server.Options)) []*server.Server {
	t.Helper()
	ports := harness.FreePorts(t, n)
	var routes string
	for _, p := range ports {
		routes += fmt.Sprintf("nats://127.0.0.1:%d,", p)
	}
	var servers []*server.Server
	for i, port := range ports {
		servers = append(servers, start(t, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Tags = tags
			o.Cluster = server.ClusterOpts{Name: name, Host: "127.0.0.1", Port: port}
			o.Routes = server.RoutesFromStr(routes[:len(routes)-1])
			for _, change := range more {
				change(o)
			}
		}))
	}
	await(t, servers)
	return servers
}

// await waits for a leader that knows all servers: before that it finds too few
// peers for a replicated stream.
func await(t *testing.T, servers []*server.Server) {
	t.Helper()
	harness.Eventually(t, "the cluster has a leader", func() bool {
		return slices.ContainsFunc(servers, func(s *server.Server) bool {
			return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers)
		})
	})
}

func planner(t *testing.T, nc *nats.Conn, want topology.Topology, opts topology.Options) *topology.Planner {
	t.Helper()
	p, err := topology.NewPlanner(nc, want, opts)
	harness.Must(t, err)
	return p
}

// streams returns the names of all streams.
func streams(t *testing.T, nc *nats.Conn) []string {
	t.Helper()
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	names := js.StreamNames(t.Context())
	var all []string
	for name := range names.Name() {
		all = append(all, name)
	}
	harness.Must(t, names.Err())
	return all
}

func step(t *testing.T, plan topology.Plan, kind topology.Kind, name string) topology.Step {
	t.Helper()
	for _, s := range plan.Steps {
		if s.Kind == kind && s.Name == name {
			return s
		}
	}
	t.Fatalf("the plan has no %s %s", kind, name)
	return topology.Step{}
}
