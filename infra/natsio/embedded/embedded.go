// Package embedded runs a nats-server inside the engine: JetStream in the data
// directory, a loopback listener for other clients, and an in-process
// connection for the engine. It knows subjects and streams only as names that
// its caller protects.
package embedded

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// MaxPayload is the largest message in bytes. The default topology allows
// messages of 5 MiB; the server's default limit is 1 MiB.
const MaxPayload = 8 << 20

// tlsTimeout bounds a TLS handshake: a client that does not go on is closed.
const tlsTimeout = 5 * time.Second

// Config of an embedded server.
type Config struct {
	Dir    string // JetStream stores its data in Dir/nats
	Listen string // loopback address for other clients; port 0 = any free port
	// TLS of the listener; nil = none. Connections in process never use it.
	TLS *tls.Config
	// Synced syncs every write to disk before its ack (sync_interval: always).
	// Otherwise messages, streams and consumers are synced once a second.
	Synced bool
	// MaxStore limits JetStream's files in bytes; 0 = the size of the file system.
	// The server's own default, a share of what is free at its start, would stay
	// low after a start on a full disk.
	MaxStore int64
	Private  []string // subject prefixes that other clients may not publish to
	Streams  []string // streams that other clients may read but not manage
	Limits   Limits
	Log      *slog.Logger
}

// Limits of a server; zero values are the server's own defaults.
type Limits struct {
	Connections  int   // connections of clients, the engine's included
	PendingBytes int64 // bytes that wait for one connection before it is closed
}

// Server is a running embedded server.
type Server struct {
	ns       *server.Server
	user     string
	pass     string
	storeDir string
	maxStore int64
	meta     *metaSync // nil = the server syncs everything itself
}

// Start runs the server and returns when it accepts connections. It fails if
// the listener's port is taken.
func Start(cfg Config) (*Server, error) {
	host, port, err := parseListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	s := &Server{user: "engine", pass: rand.Text(), storeDir: filepath.Join(cfg.Dir, "nats"), maxStore: cfg.MaxStore}
	if err := errors.Join(os.MkdirAll(s.storeDir, 0o700), os.Chmod(s.storeDir, 0o700)); err != nil { // earlier builds let a group in
		return nil, fmt.Errorf("create the directory of the embedded NATS server: %w", err)
	}
	if _, size, ok := s.Disk(); ok && s.maxStore == 0 {
		s.maxStore = size
	}
	opts := &server.Options{
		ServerName: "tidemark", Host: host, Port: port,
		JetStream: true, StoreDir: s.storeDir, JetStreamMaxStore: s.maxStore,
		MaxPayload: MaxPayload, NoSigs: true, NoLog: false,
		SyncAlways: cfg.Synced, SyncInterval: time.Second,
		MaxConn: cfg.Limits.Connections, MaxPending: cfg.Limits.PendingBytes,
		TLSConfig: cfg.TLS, TLSTimeout: tlsTimeout.Seconds(),
		NoAuthUser: "client",
		Users: []*server.User{
			{Username: s.user, Password: s.pass},
			{Username: "client", Password: rand.Text(), Permissions: clientPermissions(cfg)},
		},
	}
	if s.ns, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	s.ns.SetLoggerV2(&logger{cfg.Log}, false, false, false)
	s.ns.Start()
	if !s.ns.ReadyForConnections(20 * time.Second) {
		s.Stop()
		return nil, fmt.Errorf("the embedded NATS server accepts no connections on %s: is the port taken? (--nats-listen 127.0.0.1:0 selects a free one)", cfg.Listen)
	}
	if !cfg.Synced {
		s.meta = startMetaSync(s.storeDir, func(err error) {
			cfg.Log.Error("the description of a stream may be lost in a power failure", "error", err)
		})
	}
	return s, nil
}

// clientPermissions let other clients do everything except publish to private
// subjects and manage protected streams.
func clientPermissions(cfg Config) *server.Permissions {
	var deny []string
	for _, root := range cfg.Private {
		deny = append(deny, root+">")
	}
	for _, stream := range cfg.Streams {
		for _, api := range []string{
			"STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE",
			"STREAM.RESTORE", "STREAM.PEER.REMOVE", "STREAM.LEADER.STEPDOWN",
		} {
			deny = append(deny, "$JS.API."+api+"."+stream)
		}
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{">"}, Deny: deny},
		Subscribe: &server.SubjectPermission{Allow: []string{">"}},
	}
}

// URL is the address for other clients.
func (s *Server) URL() string { return s.ns.ClientURL() }

// InProcess is the URL to give with Options: nats.go encrypts a connection to a tls URL,
// and its certificate is not for this process.
const InProcess = "nats://in-process"

// Options connect in process with the engine's permissions. Such a connection
// does not break by itself, so pings are rare: a server that is busy must not be
// taken for a dead one.
func (s *Server) Options() []nats.Option {
	return []nats.Option{nats.InProcessServer(s.ns), nats.UserInfo(s.user, s.pass), nats.PingInterval(nats.DefaultPingInterval)}
}

// Credentials are the engine's, for tools that its operator runs.
func (s *Server) Credentials() (user, password string) { return s.user, s.pass }

// Stop shuts the server down and returns when it has ended.
func (s *Server) Stop() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	if s.meta != nil {
		s.meta.stop()
	}
}

// SyncMeta syncs the descriptions of streams and consumers now. The server does so
// each second.
func (s *Server) SyncMeta() error {
	if s.meta == nil {
		return nil
	}
	return s.meta.sync()
}

// Version is the version of the embedded server.
func (s *Server) Version() string { return server.VERSION }
