package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/pg/local"
)

// nodeCommand is the argument with which this program starts itself as one server of a
// cluster.
const nodeCommand = "cluster-node"

// node is the configuration of a server of a cluster.
type node struct {
	Name, Dir     string
	Port, Cluster int
	Routes        string // separated by commas
}

// clusterNode runs a server of a cluster until standard input ends.
func clusterNode(args []string) int {
	var n node
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &n) != nil {
		return 2
	}
	opts := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: n.Dir, MaxPayload: 8 << 20,
		Cluster: server.ClusterOpts{Name: "bench", Host: "127.0.0.1", Port: n.Cluster}, Routes: server.RoutesFromStr(n.Routes),
	}
	s, err := server.NewServer(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
	return 0
}

// nodes is a cluster of three servers, each in its own process.
type nodes struct {
	url  string // of all servers
	ends []func()
}

func startNodes(dir string) (c *nodes, err error) {
	c = &nodes{}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	const count = 3
	ports, err := freePorts(2 * count)
	if err != nil {
		return c, err
	}
	var routes, urls []string
	for i := range count {
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(ports[count+i]))
		urls = append(urls, "nats://127.0.0.1:"+strconv.Itoa(ports[i]))
	}
	c.url = strings.Join(urls, ",")
	for i := range count {
		name := "n" + strconv.Itoa(i+1)
		config, err := json.Marshal(node{Name: name, Dir: filepath.Join(dir, name), Port: ports[i], Cluster: ports[count+i], Routes: strings.Join(routes, ",")})
		if err != nil {
			return c, err
		}
		in, stdin, err := os.Pipe()
		if err != nil {
			return c, err
		}
		cmd, ended := exec.Command(self, nodeCommand, string(config)), make(chan struct{})
		cmd.Stdin, cmd.Stderr, cmd.Env = in, os.Stderr, cleanEnv()
		err = launch(cmd, ended)
		in.Close()
		if err != nil {
			stdin.Close()
			return c, err
		}
		c.ends = append(c.ends, func() {
			stdin.Close()
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				_ = cmd.Process.Kill()
				<-ended
			}
		})
	}
	return c, nil
}

func (c *nodes) stop() {
	for _, end := range c.ends {
		end()
	}
}

// freePorts returns ports that no program listens on.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// openThreeNodes compares the rate of commands of two engines on a cluster of three
// servers with that of a request and a publish with three replicas, one after the other.
func openThreeNodes(ctx context.Context, b *bench) (_ player, err error) {
	b.stop()
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	ends := []func(){func() { _ = os.RemoveAll(dir) }}
	stop := func() {
		for i := range ends {
			ends[len(ends)-1-i]()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	c, err := startNodes(dir)
	if err != nil {
		return nil, err
	}
	ends = append(ends, c.stop)
	db, err := local.Start(ctx, local.Config{Dir: filepath.Join(dir, "postgres"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	ends = append(ends, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = db.Stop(ctx)
	})
	var engines []*engine
	for _, name := range []string{"one", "two"} {
		room := filepath.Join(dir, name)
		if err := os.Mkdir(room, 0o700); err != nil {
			return nil, err
		}
		e, err := b.startAs(ctx, variant{nats: c.url, flags: []string{"--postgres", db.SuperuserURL()}}, "", filepath.Join(room, "data"))
		if err != nil {
			return nil, err
		}
		ends = append(ends, e.stop)
		engines = append(engines, e)
	}
	e := engines[0]
	e.url = c.url
	return funcPlayer{cleanup: stop, play: func(ctx context.Context, n int) (round, error) {
		var note string
		r, err := alternate(n, func() (s side, err error) {
			s, note, err = sets(ctx, e, 64, b.size.lasts)
			return s, err
		}, func() (s side, err error) {
			asks, err := coreRequests(ctx, e, 64, b.size.lasts/2)
			if err != nil {
				return s, err
			}
			pubs, err := replicatedPublish(ctx, e, 64, b.size.lasts/2)
			s.value = 1 / (1/asks.value + 1/pubs.value)
			return s, err
		})
		r.note = note
		return r, err
	}}, nil
}

// replicatedPublish is rawPublish to a stream with three replicas.
func replicatedPublish(ctx context.Context, e *engine, clients int, lasts time.Duration) (s side, err error) {
	nc, err := e.connect()
	if err != nil {
		return s, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return s, err
	}
	if err := js.DeleteStream(ctx, rawStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return s, err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: rawStream, Subjects: []string{rawSubject + ">"},
		Storage: jetstream.FileStorage, AllowDirect: true, Duplicates: 2 * time.Minute, Replicas: 3}); err != nil {
		return s, err
	}
	if s, err = closedLoop(ctx, e.connect, newClients(clients, publisher(clients)), lasts); err != nil {
		return s, err
	}
	return s, js.DeleteStream(ctx, rawStream)
}
