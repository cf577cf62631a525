// Package natsiotest starts NATS servers with custom options, for the tests of the
// adapters.
package natsiotest

import (
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

// Limited returns JetStream on a server limited to memory and store bytes.
func Limited(t testing.TB, memory, store int64) jetstream.JetStream {
	t.Helper()
	return Connect(t, Run(t, &server.Options{JetStreamMaxMemory: memory, JetStreamMaxStore: store}))
}

// Cluster returns JetStream on three servers that do not advertise one another.
func Cluster(t testing.TB) jetstream.JetStream { return ClusterWith(t, 0) }

// ClusterWith returns JetStream on three servers, each limited to store bytes.
func ClusterWith(t testing.TB, store int64) jetstream.JetStream {
	t.Helper()
	return Connect(t, ClusterServers(t, store)[0])
}

// ClusterServers starts three servers of one cluster, each limited to store bytes.
func ClusterServers(t testing.TB, store int64) []*server.Server {
	t.Helper()
	ports := harness.FreePorts(t, 3)
	var routes []string
	for _, port := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	var servers []*server.Server
	for i, port := range ports {
		servers = append(servers, Run(t, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Routes: server.RoutesFromStr(strings.Join(routes, ",")),
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port, NoAdvertise: true}, JetStreamMaxStore: store, JetStreamMaxMemory: store,
		}))
	}
	harness.Eventually(t, "a leader of the cluster with three peers", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == 3
			}
		}
		return false
	})
	return servers
}

// Run starts a server with opts on a free port and a new store directory.
func Run(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.Port, opts.JetStream, opts.StoreDir, opts.NoSigs, opts.NoLog = "127.0.0.1", -1, true, t.TempDir(), true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready after 20 s")
	}
	return s
}

// Connect connects to s and returns its JetStream.
func Connect(t testing.TB, s *server.Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return support.JetStream(t, nc)
}
