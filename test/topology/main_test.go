// Package topology plans and applies the seed's section 6 on real servers: the
// engine's own, small ones, and a cluster of three.
package topology

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		harness.Clean()
		os.Exit(code)
	}))
}

// seedFile holds the section's three YAML blocks as they stand.
var seedFile = filepath.Join("..", "..", "infra", "natsio", "topology", "testdata", "seed-6.yaml")

const mib = 1 << 20

// tags are all that the seed's placements ask for.
var tags = []string{
	"agent-state", "critical", "task-execution", "audit", "messaging", "ephemeral", "session-data", "user-state",
	"configuration", "persistent", "cache", "task-state", "execution",
}

func seed(t *testing.T) topology.Topology {
	t.Helper()
	text, err := os.ReadFile(seedFile)
	must(t, err)
	want, err := topology.Parse(text)
	must(t, err)
	return want
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// own starts the engine's own server and connects as the engine does.
func own(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Synced: true, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(s.Stop)
	return connect(t, s.URL(), s.Options()...)
}

func connect(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	must(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// start runs one server with JetStream and what opts change.
func start(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 30, JetStreamMaxMemory: 1 << 30, MaxPayload: 8 * mib,
	}
	change(opts)
	s, err := server.NewServer(opts)
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("a server does not take connections")
	}
	return s
}

// cluster starts n servers of one cluster and returns when JetStream answers.
func cluster(t *testing.T, n int, name string, tags []string, more ...func(*server.Options)) *nats.Conn {
	t.Helper()
	ports := free(t, n)
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
	nc := connect(t, servers[0].ClientURL())
	await(t, servers)
	return nc
}

// free finds ports that nobody listens on.
func free(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// await waits for a leader that knows all servers: before, it finds too few
// peers for a replicated stream.
func await(t *testing.T, servers []*server.Server) {
	t.Helper()
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		for _, s := range servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers) {
				tick.Stop()
				return
			}
		}
		if t.Context().Err() != nil {
			t.Fatal("the cluster finds no leader")
		}
	}
}

func planner(t *testing.T, nc *nats.Conn, want topology.Topology, opts topology.Options) *topology.Planner {
	t.Helper()
	p, err := topology.NewPlanner(nc, want, opts)
	must(t, err)
	return p
}

// streams are the names of all streams on the server.
func streams(t *testing.T, nc *nats.Conn) []string {
	t.Helper()
	js, err := jetstream.New(nc)
	must(t, err)
	names := js.StreamNames(t.Context())
	var all []string
	for name := range names.Name() {
		all = append(all, name)
	}
	must(t, names.Err())
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
