// Package embedded runs a nats-server inside the engine: JetStream in the data
// directory, a loopback listener for other clients, and an in-process
// connection for the engine itself.
package embedded

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// MaxPayload is the largest message, in bytes: the seed's streams take up to 5
// MiB, which the server's default of 1 MiB would never let through.
const MaxPayload = 8 << 20

// Config of an embedded server.
type Config struct {
	Dir    string // JetStream's data live in Dir/nats
	Listen string // loopback address for other clients; port 0 = choose one
	// Synced makes every write to the journal reach the disk before its ack
	// (sync_interval: always). Otherwise the disk is asked once a second.
	Synced  bool
	Private []string // subject roots that plain clients may not publish on
	Streams []string // streams that plain clients may read but not manage
	Log     *slog.Logger
}

// Server is a running embedded server.
type Server struct {
	ns   *server.Server
	user string
	pass string
}

// Start runs the server and returns when it takes connections. It fails when
// the listener's port is taken.
func Start(cfg Config) (*Server, error) {
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	s := &Server{user: "engine", pass: secret()}
	opts := &server.Options{
		ServerName: "tidemark", Host: host, Port: port,
		JetStream: true, StoreDir: filepath.Join(cfg.Dir, "nats"),
		MaxPayload: MaxPayload, NoSigs: true, NoLog: false,
		SyncAlways: cfg.Synced, SyncInterval: time.Second,
		NoAuthUser: "client",
		Users: []*server.User{
			{Username: s.user, Password: s.pass},
			{Username: "client", Password: secret(), Permissions: plainClient(cfg)},
		},
	}
	if s.ns, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	s.ns.SetLoggerV2(&logger{cfg.Log}, false, false, false)
	s.ns.Start()
	if !s.ns.ReadyForConnections(20 * time.Second) {
		s.Stop()
		return nil, fmt.Errorf("embedded NATS did not come up on %s: is the port taken? (--nats-listen 127.0.0.1:0 chooses a free one)", cfg.Listen)
	}
	return s, nil
}

// splitListen reads host:port and takes loopback only: there is no password on
// this listener.
func splitListen(listen string) (string, int, error) {
	host, portText, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("--nats-listen %q: %w", listen, err)
	}
	ip := net.ParseIP(host)
	if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, fmt.Errorf("--nats-listen %q: the embedded server listens on loopback only; run a NATS server of your own and use --nats for more", listen)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("--nats-listen %q: the port is not a number up to 65535", listen)
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	l, err := net.Listen("tcp", listen) // a clear error instead of a fatal log line
	if err != nil {
		return "", 0, fmt.Errorf("--nats-listen: %w (another engine or NATS server? 127.0.0.1:0 chooses a free port)", err)
	}
	return host, port, l.Close()
}

// plainClient is what other clients may do: everything but write the journal
// or manage it.
func plainClient(cfg Config) *server.Permissions {
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

func secret() string {
	b := make([]byte, 24)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// URL is where other clients connect.
func (s *Server) URL() string { return s.ns.ClientURL() }

// Options connect the engine itself: in process and with its own rights.
func (s *Server) Options() []nats.Option {
	return []nats.Option{nats.InProcessServer(s.ns), nats.UserInfo(s.user, s.pass)}
}

// Credentials are the engine's own, for tools that its operator runs.
func (s *Server) Credentials() (user, password string) { return s.user, s.pass }

// Stop ends the server; what was acknowledged is on its way to the disk.
func (s *Server) Stop() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

// Version of the server.
func (s *Server) Version() string { return server.VERSION }
