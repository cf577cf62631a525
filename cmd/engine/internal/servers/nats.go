// Package servers is the NATS server and Postgres, embedded, managed or external, and the
// engine's connections to them. What they store belongs to the components.
package servers

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// NATS is the NATS server, embedded or external, and the engine's
// connections to it. The journal, the views' writes and the requests have a
// connection each, so that none waits behind another's bytes. The journal's
// readers share the connection of its appends: a separate one was no clear gain
// (ADR 10).
type NATS struct {
	Embedded *embedded.Server // nil = external
	URL      string
	access   []nats.Option // how to authenticate at an external server
	Subjects natsio.Subjects
	Accounts gate.Accounts // of clients; nil = they share the engine's
	Mode     auth.Mode     // of an external server with --auth on
	Operator string        // its account of the operator; empty = not known
	conns    []*nats.Conn
	mu       sync.Mutex
	dialed   []*nats.Conn // all of them, also those that a component closes
	Subs     natsio.Subscriptions
	stops    *lifecycle.Stops
	Log      *slog.Logger
}

// Start starts NATS and Postgres at the same time.
// tlsConfig is of the embedded server's listener; nil = without TLS.
func Start(ctx context.Context, cfg *settings.Config, l embedded.Limits, tlsConfig *tls.Config, stops *lifecycle.Stops, log *slog.Logger) (*NATS, *Postgres, error) {
	access, err := cfg.NATSAccess.Options()
	if err != nil {
		return nil, nil, err
	}
	n := &NATS{access: access, URL: cfg.NATS, Subjects: natsio.NewSubjects(cfg.SubjectPrefix), Subs: natsio.Subscriptions{Log: log}, stops: stops, Log: log}
	p := &Postgres{log: log}
	key := ""
	if cfg.NATS == "" {
		if key, err = cfg.StorageKey(ctx); err != nil {
			return nil, nil, err
		}
	}
	var starting sync.WaitGroup
	var pgErr, natsErr error
	if cfg.Postgres == "" {
		starting.Go(func() {
			reader, outbox := pg.Roles(cfg.PostgresSchema)
			p.Local, pgErr = local.Start(ctx, local.Config{Dir: filepath.Join(cfg.Data, "postgres"), Roles: []string{reader, outbox}, Log: log})
		})
	}
	if cfg.NATS == "" {
		n.Embedded, natsErr = deployment.StartNATS(embedded.Config{
			Dir: cfg.Data, Listen: cfg.NATSListen, Synced: cfg.Durability == "synced", Limits: l, Log: log,
			TLS: tlsConfig, Auth: cfg.Authenticated(), Key: key,
		}, cfg.SubjectPrefix)
	}
	if natsErr == nil && cfg.NATS != "" {
		natsErr = n.await(ctx)
	}
	starting.Wait()
	if p.Local != nil {
		stops.AddServer(p.stop)
	}
	if n.Embedded != nil {
		n.URL, n.Accounts = n.Embedded.URL(), n.Embedded.Authority()
		stops.AddServer(func(context.Context) { n.Embedded.Stop() })
	}
	switch {
	case natsErr != nil:
		return nil, nil, natsErr
	case pgErr != nil:
		return nil, nil, fmt.Errorf("%w\n(--postgres URL uses an external database, --postgres off runs without SQL)", pgErr)
	}
	return n, p, nil
}

// externalPatience is how long a start waits for an external server: after a power failure, and in
// a set of containers, both start at once.
const externalPatience = 30 * time.Second

// await waits until an external server answers. What it refuses is no reason to wait.
func (n *NATS) await(ctx context.Context) error {
	for began, said := time.Now(), false; ; said = true {
		nc, err := natsio.Connect(n.URL, "tidemark-start", slog.New(slog.DiscardHandler), n.access...)
		if err == nil {
			nc.Close()
			return nil
		}
		if !natsio.IsUnreachable(err) || time.Since(began) > externalPatience {
			return err
		}
		if !said {
			n.Log.Warn("the engine waits for the NATS server", "for", externalPatience, "error", err)
		}
		if wait.Sleep(ctx, time.Second/2) != nil {
			return err
		}
	}
}

// Connect opens a connection that the engine's stop closes in its turn.
func (n *NATS) Connect(name string) (*nats.Conn, error) {
	nc, err := n.Dial(name)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.conns = append(n.conns, nc)
	n.mu.Unlock()
	n.stops.Add(func(context.Context) { nc.Close() })
	return nc, nil
}

// Kept are the connections that stay until the stop, in the order in which connect
// opened them; components that run already ask while later ones are opened.
func (n *NATS) Kept() []*nats.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.conns)
}

// First is the oldest of them.
func (n *NATS) First() *nats.Conn { return n.Kept()[0] }

// Dial opens a connection that the caller closes.
func (n *NATS) Dial(name string) (*nats.Conn, error) {
	url, opts := n.URL, n.access
	if n.Embedded != nil {
		url, opts = embedded.InProcess, n.Embedded.Options()
	}
	nc, err := natsio.Connect(url, "tidemark-"+name, n.Log, opts...)
	if err != nil {
		return nil, err
	}
	n.Subs.Keep(nc, func() (*nats.Conn, error) {
		return natsio.Connect(url, "tidemark-subscriptions", slog.New(slog.DiscardHandler), opts...)
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialed = append(slices.DeleteFunc(n.dialed, (*nats.Conn).IsClosed), nc)
	return nc, nil
}

// The connections that answer clients.
const (
	RequestsConnection = "requests"
	QueriesConnection  = "queries"
	GateConnection     = "gate"
	enqueueConnection  = "enqueue" // of the intake
)

// Identify returns who an account belongs to; nil where all clients share the
// engine's account.
func (n *NATS) Identify() func(account string) *identity.Caller {
	if n.Accounts == nil {
		return nil
	}
	return n.Accounts.Caller
}

// Reconnect breaks the engine's connections, so that their consumers and watches
// are renewed at once. Those that answer clients stay: their answers would be lost,
// and requests would have no responder.
func (n *NATS) Reconnect() {
	answers := []string{RequestsConnection, QueriesConnection, GateConnection, enqueueConnection}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, nc := range n.dialed {
		if !slices.Contains(answers, strings.TrimPrefix(nc.Opts.Name, "tidemark-")) && !nc.IsClosed() {
			_ = nc.ForceReconnect() // fails when it reconnects already
		}
	}
}

// Storage is how much of its storage the server uses. An account without a limit on a
// server that is not ours has none that we know.
func (n *NATS) Storage(ctx context.Context, reserve func(size int64) int64) (s deployment.StorageStatus, err error) {
	if n.Embedded != nil {
		s.Used = uint64(n.Embedded.Used())
		if free, size, ok := n.Embedded.Disk(); ok {
			s.Free, s.Limit, s.Reserve = uint64(free), s.Used+uint64(free), uint64(reserve(size))
		}
		return s, nil
	}
	js, err := jetstream.New(n.First())
	if err != nil {
		return s, err
	}
	info, err := js.AccountInfo(ctx)
	if err != nil {
		return s, err
	}
	s.Used, s.Limit = info.Store, uint64(max(0, info.Limits.MaxStore))
	for _, tier := range info.Tiers {
		s.Limit += uint64(max(0, tier.Limits.MaxStore))
	}
	return s, nil
}
