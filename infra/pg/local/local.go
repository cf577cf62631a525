// Package local runs a private PostgreSQL for one engine process: it makes the
// cluster once, serves it over loopback and a Unix socket, starts it again when
// it dies, and takes it down with the engine, even one killed with -9.
package local

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// role is the superuser that owns the cluster and its database.
const role = "tidemark"

const (
	readyWithin = 60 * time.Second // how long Start waits for an answer when its context has no deadline
	quitGrace   = 6 * time.Second  // SIGQUIT to SIGKILL: postgres itself kills stubborn children after 5 s
)

// Config says where the cluster lives and how it is reached.
type Config struct {
	// Dir is this launcher's own directory, made if missing. Inside: data (the
	// cluster), password, port, lock, run (the socket) and postgres.log.
	Dir string
	// BinDir holds postgres and initdb; "" looks where FindBinaries does.
	BinDir string
	// Port on 127.0.0.1; 0 chooses a free one, remembered in Dir and taken
	// again by later starts if it is still free.
	Port int
	// Log receives what the launcher does; nil is slog.Default.
	Log *slog.Logger
	// Database is created if missing; "" is "tidemark".
	Database string
}

// Server is a running PostgreSQL. Its methods may be called concurrently.
type Server struct {
	cfg      Config
	log      *slog.Logger
	home     string // Config.Dir with links resolved
	as       account
	bins     binaries
	password string
	port     int
	sockets  string // directory of the Unix socket
	out      *logbook
	lock     *os.File
	grace    time.Duration

	mu   sync.Mutex
	proc *process // nil before the first launch

	cancel     context.CancelFunc // ends supervision
	supervised chan struct{}      // closed when supervision has ended
	once       sync.Once
	stopErr    error
}

// Start makes the cluster if there is none, serves it, and returns once a
// connection has answered. The context bounds only the start; without a
// deadline the wait for the first answer ends after 60 s. It fails when no
// binaries are found, when another process holds Dir, when the cluster was made
// by a PostgreSQL major that was not found, or when postgres gives up (the
// error then ends with its log). A failed Start leaves nothing running, and no
// failure ever touches an existing cluster.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: cfg.Log, grace: quitGrace}
	s.cfg.Database = cmp.Or(cfg.Database, "tidemark")
	if s.log == nil {
		s.log = slog.Default()
	}
	if err := s.start(ctx); err != nil {
		if s.current() != nil {
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.end(gone) // nobody has written anything: no need for a checkpoint
		}
		s.release()
		return nil, fmt.Errorf("local postgres in %s: %w", cfg.Dir, err)
	}
	life, cancel := context.WithCancel(context.Background())
	s.cancel, s.supervised = cancel, make(chan struct{})
	go s.supervise(life)
	return s, nil
}

func (s *Server) start(ctx context.Context) (err error) {
	began := time.Now()
	if err := s.settle(); err != nil {
		return err
	}
	if s.lock, err = lockDir(s.home); err != nil {
		return err
	}
	fresh, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	s.log.Info("postgres is ready", "version", s.bins.version, "pid", s.Pid(), "port", s.port,
		"dir", s.home, "new", fresh, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// data is the cluster itself (what PostgreSQL calls PGDATA).
func (s *Server) data() string { return filepath.Join(s.home, dataName) }

// URL reaches the database over TCP on 127.0.0.1, with user and password. It
// stays the same while this Server lives, however often postgres is restarted.
func (s *Server) URL() string { return s.tcp(s.cfg.Database) }

// SocketURL reaches the database over the Unix socket, which only the user who
// runs postgres and root may open.
func (s *Server) SocketURL() string { return s.unix(s.cfg.Database) }

// Version is that of the binaries, such as "15.18".
func (s *Server) Version() string { return s.bins.version }

// Pid is the process id of the running postmaster, 0 while it is down.
func (s *Server) Pid() int {
	if p := s.current(); p != nil && !p.ended() {
		return p.cmd.Process.Pid
	}
	return 0
}

func (s *Server) tcp(database string) string {
	return s.address("127.0.0.1:"+strconv.Itoa(s.port), database, url.Values{})
}

func (s *Server) unix(database string) string {
	return s.address("", database, url.Values{"host": {s.sockets}, "port": {strconv.Itoa(s.port)}})
}

// address spells out sslmode: clients otherwise default to "prefer" or to what
// PGSSLMODE says, and the server has no TLS.
func (s *Server) address(host, database string, query url.Values) string {
	query.Set("sslmode", "disable")
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, s.password), Host: host,
		Path: "/" + database, RawQuery: query.Encode()}
	return u.String()
}

func (s *Server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *Server) setCurrent(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc = p
}
