// Package local runs a private PostgreSQL server for one engine process. It
// creates the cluster once, serves it on loopback and a Unix socket, restarts
// it after a crash, and ends it with the engine, even after SIGKILL. It knows
// nothing of the engine's tables.
package local

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
)

const (
	role      = "tidemark" // the engine's role, which owns the database of the same name
	superuser = "postgres" // used only to prepare the cluster
)

// quitGrace is how long postgres gets between SIGQUIT and SIGKILL. It kills its
// own stubborn children after 5 s.
const quitGrace = 6 * time.Second

// Config says where the cluster is and how clients reach it.
type Config struct {
	// Dir belongs to one Server and is created if missing. It holds data (the
	// cluster), password, port, lock, run (the socket) and postgres.log.
	Dir string
	// Port on 127.0.0.1. 0 chooses a free port; later starts use the same port
	// while it is free.
	Port int
	// Roles of clients that cannot log in, besides tidemark_reader and tidemark_outbox.
	Roles []string
	// Log defaults to slog.Default.
	Log *slog.Logger
}

// Server is a running PostgreSQL. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	log       *slog.Logger
	dir       string // Config.Dir with links resolved
	account   account
	bins      binaries
	password  string                 // of role
	admin     string                 // password of superuser
	console   atomic.Pointer[string] // password of the role of that name; nil = not made yet
	port      int
	socketDir string
	out       *logFile
	lock      *flock.Flock
	grace     time.Duration

	postmaster atomic.Pointer[child] // the last one started; nil before the first

	cancel     context.CancelFunc // ends supervision
	supervised chan struct{}      // closed when supervision has ended
	once       sync.Once
	stopErr    error
}

// Start creates the cluster if there is none, starts postgres, and returns once
// a client can log in. ctx bounds only the start, which waits at most 60 s for the
// login. It fails when it finds no binaries, when another
// process holds Dir, when the cluster needs another PostgreSQL major, and when
// postgres exits (the error then ends with its log). A failed Start leaves no
// process behind and never changes an existing cluster.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()), grace: quitGrace}
	if err := s.start(ctx); err != nil {
		expired, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.shutDown(expired) // no client has written: no checkpoint needed
		s.release()
		return nil, fmt.Errorf("local postgres in %s: %w", cfg.Dir, err)
	}
	ctx, s.cancel = context.WithCancel(context.Background())
	s.supervised = make(chan struct{})
	go s.supervise(ctx)
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	began := time.Now()
	for _, step := range []func(context.Context) error{s.openDir, s.lockDir, s.prepareCluster, s.makeSocketDir, s.openLog, s.listen} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.log.Info("postgres is ready", "version", s.bins.version, "pid", s.pid(), "port", s.port,
		"dir", s.dir, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// pgdata is the data directory of the cluster, PGDATA in PostgreSQL's terms.
func (s *Server) pgdata() string { return filepath.Join(s.dir, dataName) }

// URL reaches the database over TCP on 127.0.0.1. It names the file with the
// password instead of the password, as clients with libpq or pgx understand it. It
// stays the same when postgres restarts. It sets sslmode because the server has no
// TLS, and clients otherwise use "prefer" or PGSSLMODE.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable&passfile=%s", role, s.port, role, url.QueryEscape(filepath.Join(s.dir, passfileName)))
}

// loginURL reaches a database over TCP with a password.
func (s *Server) loginURL(user, password, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", user, url.QueryEscape(password), s.port, database)
}

// SuperuserURL reaches the database with all rights.
func (s *Server) SuperuserURL() string { return s.loginURL(superuser, s.admin, role) }

// SocketURL reaches the database over the Unix socket, which only root and the
// user that runs postgres may open.
func (s *Server) SocketURL() string {
	return fmt.Sprintf("postgres://%s:%s@/%s?host=%s&port=%d&sslmode=disable", role, url.QueryEscape(s.password), role, url.QueryEscape(s.socketDir), s.port)
}

// Version of the binaries, such as "15.18".
func (s *Server) Version() string { return s.bins.version }

// BinDir is the directory of the binaries, with pg_dump among them.
func (s *Server) BinDir() string { return s.bins.dir }

// pid of the postmaster, 0 while none runs.
func (s *Server) pid() int {
	if p := s.postmaster.Load(); p != nil && !p.ended() {
		return p.cmd.Process.Pid
	}
	return 0
}
