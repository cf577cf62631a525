package faults

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// node is one NATS server of a cluster, in a process of its own.
type node struct {
	t     *testing.T
	name  string
	file  string // its configuration
	url   string
	child *harness.Child // nil while it is down
}

func (n *node) start() {
	n.t.Helper()
	n.child = harness.StartNATSServer(n.t, n.name, n.file)
}

func (n *node) kill() {
	if n.child != nil {
		n.child.Kill()
		n.child = nil
	}
}

func (n *node) freeze() { n.t.Helper(); n.child.Signal(syscall.SIGSTOP) }
func (n *node) thaw()   { n.t.Helper(); n.child.Signal(syscall.SIGCONT) }

// nodes are the servers of one cluster.
type nodes []*node

// startNodes starts three servers and waits until JetStream answers.
func startNodes(t *testing.T) nodes {
	t.Helper()
	dir, ports := harness.TempDir(t), harness.FreePorts(t, 6)
	routes := fmt.Sprintf("nats://127.0.0.1:%d, nats://127.0.0.1:%d, nats://127.0.0.1:%d", ports[3], ports[4], ports[5])
	all := make(nodes, 3)
	for i := range all {
		name := fmt.Sprint("n", i)
		all[i] = &node{t: t, name: name, file: filepath.Join(dir, name+".conf"), url: fmt.Sprintf("nats://127.0.0.1:%d", ports[i])}
		harness.Must(t, os.WriteFile(all[i].file, fmt.Appendf(nil, `
			server_name: %s
			listen: "127.0.0.1:%d"
			max_payload: 8MB
			jetstream { store_dir: %q, max_mem: 1GB, max_file: 64GB }
			cluster { name: faults, listen: "127.0.0.1:%d", routes: [%s] }
		`, name, ports[i], filepath.Join(dir, name), ports[3+i], routes), 0o600))
		t.Cleanup(all[i].kill)
		all[i].start()
	}
	all.await()
	return all
}

// urls are the addresses of all servers, from the i-th on.
func (all nodes) urls(i int) string {
	var urls []string
	for k := range all {
		urls = append(urls, all[(i+k)%len(all)].url)
	}
	return strings.Join(urls, ",")
}

// from is the engine as seen by clients that connect to the i-th server first, and
// leave a server that is silent for three seconds.
func (all nodes) from(e *harness.Engine, i int) *harness.Engine {
	at := *e
	at.NATSURL = all.urls(i)
	return &at
}

// failover are the options of such clients.
var failover = []nats.Option{
	nats.DontRandomize(), nats.Timeout(time.Second), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.RetryOnFailedConnect(true),
}

// do runs f with JetStream at any server that is up, until f succeeds.
func (all nodes) do(what string, f func(ctx context.Context, js jetstream.JetStream) error) {
	t := all[0].t
	t.Helper()
	nc, err := nats.Connect(all.urls(0), slices.Concat(failover, []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)})...)
	harness.Must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	harness.Eventually(t, what, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return f(ctx, js)
	})
}

// await waits until the cluster can keep three replicas.
func (all nodes) await() {
	all[0].t.Helper()
	all.do("the cluster keeps three replicas", func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "PROBE", Subjects: []string{"cluster.probe"}, Replicas: 3})
		if err != nil {
			return err
		}
		return js.DeleteStream(ctx, "PROBE")
	})
}

// settled waits until every stream that has replicas has a leader and no replica
// that lags.
func (all nodes) settled() {
	all[0].t.Helper()
	all.do("every stream has its replicas", func(ctx context.Context, js jetstream.JetStream) error {
		list := js.ListStreams(ctx)
		for info := range list.Info() {
			if info.Cluster == nil || info.Config.Replicas == 1 {
				continue
			}
			if info.Cluster.Leader == "" {
				return fmt.Errorf("stream %s has no leader", info.Config.Name)
			}
			for _, r := range info.Cluster.Replicas {
				if r.Offline || !r.Current {
					return fmt.Errorf("stream %s: %+v", info.Config.Name, *r)
				}
			}
		}
		return list.Err()
	})
}

// leader is the server that leads a stream.
func (all nodes) leader(stream string) (leader *node) {
	all[0].t.Helper()
	all.do("stream "+stream+" has a leader", func(ctx context.Context, js jetstream.JetStream) error {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		for _, n := range all {
			if s.CachedInfo().Cluster.Leader == n.name {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("%+v", s.CachedInfo().Cluster)
	})
	return leader
}

// stepDown makes the leader of a stream resign.
func (all nodes) stepDown(stream string) {
	all[0].t.Helper()
	all.do("the leader of "+stream+" resigns", func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
		return err
	})
}

// reachable reports whether a server takes connections.
func reachable(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
