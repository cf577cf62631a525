// Package embedded runs a nats-server inside the engine: JetStream in the data
// directory, a loopback listener for other clients, and an in-process
// connection for the engine. The server runs in operator mode with the accounts
// of package auth. It knows subjects and streams only as names that its caller
// protects.
package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

// MaxPayload is the largest message in bytes. The default topology allows
// messages of 5 MiB; the server's default limit is 1 MiB.
const MaxPayload = 8 << 20

// tlsTimeout bounds a TLS handshake: a client that does not go on is closed.
const tlsTimeout = 5 * time.Second

// maxDevDisk bounds what clients without credentials store in streams of their own; it is
// also at most an eighth of the file system.
const maxDevDisk = 1 << 30

// Config of an embedded server.
type Config struct {
	Dir    string // JetStream stores its data in Dir/nats
	Listen string // address for other clients; port 0 = any free port
	// TLS of the listener; nil = none. Connections in process never use it.
	TLS *tls.Config
	// Synced syncs every write to disk before its ack (sync_interval: always).
	// Otherwise messages, streams and consumers are synced once a second.
	Synced bool
	// MaxStore limits JetStream's files in bytes; 0 = the size of the file system.
	// The server's own default, a share of what is free at its start, would stay
	// low after a start on a full disk.
	MaxStore int64
	// Auth admits only clients with credentials. Otherwise clients without any are
	// in the account DEV. An address that other machines reach needs Auth and TLS.
	Auth    bool
	Prefix  string   // of all subjects of the engine, with its dot
	Private []string // subject prefixes that clients without credentials may not publish to
	ReadRaw []string // streams that they read without the gate
	// Journal begins the names of streams that only the engine has: by them its account's
	// directory is known in a data directory that was restored without its keys.
	Journal string
	Limits  Limits
	// Key encrypts JetStream's files; "" = they are not encrypted. Files from before
	// are encrypted when the server opens them.
	Key string
	Log *slog.Logger
}

// Limits of a server; zero values are the server's own defaults.
type Limits struct {
	Connections  int   // connections of clients, the engine's included
	PendingBytes int64 // bytes that wait for one connection before it is closed
}

// Server is a running embedded server.
type Server struct {
	ns       *server.Server
	auth     *auth.Authority
	storeDir string
	maxStore int64
	meta     *metaSync // nil = the server syncs everything itself
	log      *slog.Logger
	moments  sync.Map // see resolver
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// KeysDir is the directory of the keys in a data directory.
func KeysDir(dir string) string { return filepath.Join(dir, "auth") }

// Start runs the server and returns when it accepts connections. It fails if
// the listener's port is taken.
func Start(cfg Config) (*Server, error) {
	host, port, err := parseListen(cfg.Listen, cfg.TLS != nil && cfg.Auth)
	if err != nil {
		return nil, err
	}
	s := &Server{storeDir: filepath.Join(cfg.Dir, "nats"), maxStore: cfg.MaxStore, log: cfg.Log}
	if err := errors.Join(os.MkdirAll(s.storeDir, 0o700), os.Chmod(s.storeDir, 0o700)); err != nil { // earlier builds let a group in
		return nil, fmt.Errorf("create the directory of the embedded NATS server: %w", err)
	}
	_, size, ok := s.Disk()
	if ok && s.maxStore == 0 {
		s.maxStore = size
	}
	devDisk := int64(maxDevDisk)
	if ok {
		devDisk = min(devDisk, size/8)
	}
	if s.maxStore > 0 {
		s.maxStore += devDisk // what clients may reserve is not taken from the engine
	}
	denied := make([]string, 0, len(cfg.Private))
	for _, root := range cfg.Private {
		denied = append(denied, root+">")
	}
	s.auth, err = auth.Open(auth.Config{Dir: KeysDir(cfg.Dir), Prefix: cfg.Prefix, Denied: denied, ReadRaw: cfg.ReadRaw, DevDisk: devDisk, Connections: cfg.Limits.Connections})
	if err != nil {
		return nil, err
	}
	if err := s.restoreStreams(); err != nil {
		return nil, fmt.Errorf("restore the streams whose encryption was interrupted: %w", err)
	}
	if err := errors.Join(s.auth.SetMode(auth.Embedded), s.moveData(cfg.Journal)); err != nil {
		return nil, err
	}
	encrypting, err := s.beginEncryption(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("encrypt the streams: %w", err)
	}
	opts, err := s.options(&cfg)
	if err != nil {
		return nil, fmt.Errorf("make the accounts of the embedded NATS server: %w", err)
	}
	opts.Host, opts.Port = host, port
	if s.ns, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	s.ns.SetLoggerV2(&logger{cfg.Log}, false, false, false)
	// The share of clients is reserved before streams reserve theirs; and the server makes an
	// account twice when two connections ask for it first.
	if _, err := s.ns.LookupAccount(s.auth.Dev()); err != nil {
		s.ns.Shutdown()
		return nil, fmt.Errorf("open the account of clients without credentials: %w", err)
	}
	s.ns.Start() // does not listen yet
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	if !s.ns.ReadyForConnections(time.Second) { // Start has returned before its end
		s.Stop()
		return nil, fmt.Errorf("the embedded NATS server cannot use its files in %s: the log says why", s.storeDir)
	}
	if encrypting {
		if err := s.endEncryption(); err != nil {
			s.Stop()
			return nil, fmt.Errorf("encrypt the streams: %w", err)
		}
	}
	s.prepareAll()
	s.ns.AcceptLoop(make(chan struct{}))
	if s.ns.Addr() == nil {
		s.Stop()
		return nil, fmt.Errorf("the embedded NATS server accepts no connections on %s: is the port taken? (--nats-listen 127.0.0.1:0 selects a free one)", cfg.Listen)
	}
	if !cfg.Synced {
		s.meta = startMetaSync(s.storeDir, func(err error) {
			cfg.Log.Error("the description of a stream may be lost in a power failure", "error", err)
		})
	}
	s.running.Go(func() { s.followPrincipals(ctx) })
	return s, nil
}

func (s *Server) options(cfg *Config) (*server.Options, error) {
	operator, err := s.auth.OperatorClaims()
	if err != nil {
		return nil, err
	}
	opts := &server.Options{
		ServerName: "tidemark",
		DontListen: true, // Start listens when the accounts are prepared
		JetStream:  true, StoreDir: s.storeDir, JetStreamMaxStore: s.maxStore,
		MaxPayload: MaxPayload, NoSigs: true, NoLog: false,
		SyncAlways: cfg.Synced, SyncInterval: time.Second,
		JetStreamKey: cfg.Key, JetStreamCipher: server.AES,
		MaxConn: cfg.Limits.Connections, MaxPending: cfg.Limits.PendingBytes,
		TLSConfig: cfg.TLS, TLSTimeout: tlsTimeout.Seconds(),
		TrustedOperators: []*jwt.OperatorClaims{operator}, SystemAccount: s.auth.System(), AccountResolver: resolver{s.auth, &s.moments},
	}
	if !cfg.Auth {
		opts.DefaultSentinel, err = s.auth.Anonymous()
	}
	return opts, err
}

// principalCheck is the pause between two looks for principals that another process has
// changed; principalGlance between two looks whether there was any change.
const (
	principalCheck  = 500 * time.Millisecond
	principalGlance = 25 * time.Millisecond
)

// followPrincipals applies changes of principals to the server: connections of
// revoked credentials are closed.
func (s *Server) followPrincipals(ctx context.Context) {
	tick := time.NewTicker(principalGlance)
	defer tick.Stop()
	var seen, due time.Time
	fresh := map[string]bool{} // accounts that the server has not asked for
	for failing := false; ; {
		late := time.Now().After(due)
		if late { // not at once: the server refuses a client whose account another goroutine is loading
			for account := range fresh {
				s.apply(account, "")
			}
			clear(fresh)
		}
		if at := s.auth.Modified(); !at.Equal(seen) || late {
			seen, due = at, time.Now().Add(principalCheck)
			changed, err := s.auth.Changed()
			if err != nil && !failing {
				s.log.Error("a change of a principal cannot be applied", "error", err)
			}
			failing = err != nil
			for account, text := range changed {
				if text == "" {
					fresh[account] = true
					continue
				}
				delete(fresh, account)
				s.apply(account, text)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// URL is the address for other clients. A listener on all addresses is named by the
// loopback one.
func (s *Server) URL() string {
	u, err := url.Parse(s.ns.ClientURL())
	if err != nil {
		return s.ns.ClientURL()
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		u.Host = net.JoinHostPort("127.0.0.1", u.Port())
	}
	return u.String()
}

// InProcess is the URL to give with Options: nats.go encrypts a connection to a tls URL,
// and its certificate is not for this process.
const InProcess = "nats://in-process"

// Authority makes the accounts and credentials of the server.
func (s *Server) Authority() *auth.Authority { return s.auth }

// Options connect in process with the engine's rights. Such a connection does not
// break by itself, so pings are rare: a server that is busy must not be taken for
// a dead one.
func (s *Server) Options() []nats.Option { return s.inProcess(s.auth.EngineUser) }

// GateOptions connect the gate to the account DEV.
func (s *Server) GateOptions() []nats.Option { return s.inProcess(s.auth.GateUser) }

// ClientOptions connect in process like any client: with the credentials that the caller
// adds, or none.
func (s *Server) ClientOptions() []nats.Option {
	return []nats.Option{nats.InProcessServer(inProcess{s.ns}), nats.PingInterval(nats.DefaultPingInterval)}
}

func (s *Server) inProcess(user func() (userJWT, seed string, err error)) []nats.Option {
	text, seed, err := user()
	if err != nil { // the connection is refused
		s.log.Error("the engine's credentials cannot be made", "error", err)
	}
	return []nats.Option{nats.InProcessServer(s.ns), nats.UserJWTAndSeed(text, seed), nats.PingInterval(nats.DefaultPingInterval)}
}

// Stop shuts the server down and returns when it has ended.
func (s *Server) Stop() {
	s.stop()
	s.running.Wait()
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	if s.meta != nil {
		s.meta.stop()
	}
}

// Version is the version of the embedded server.
func (s *Server) Version() string { return server.VERSION }
