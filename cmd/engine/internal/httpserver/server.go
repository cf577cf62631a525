// Package httpserver is the listener of --http: TLS, bounds of connections and time, the
// guard against what browsers are made to send, and profiles. Its pages belong to the
// components that register them.
package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/internal/certs"
)

// readHeaderTimeout bounds the time from a request's first byte to the end of its
// headers. Tests shorten it.
var readHeaderTimeout = 5 * time.Second

// Config says where a server listens and whom it answers.
type Config struct {
	Listen         string
	Hosts          []string               // names of the server beside its addresses and those of Certs
	Certs          *certs.Certificates    // nil = without TLS
	OwnCredentials func(path string) bool // paths that ask for credentials themselves
	Profiles       bool                   // below /debug/pprof/, for this machine
	Log            *slog.Logger
}

// Server serves the handlers of its mux once Serve is called.
type Server struct {
	*http.ServeMux
	cfg      Config
	server   *http.Server
	listener net.Listener
	done     chan struct{} // closed when Serve has ended
}

// Listen takes the address, which answers once Serve is called.
func Listen(cfg Config) (*Server, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("--http: %w (127.0.0.1:0 chooses a free port)", err)
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		cfg.Log.Warn("--http is reachable from other machines: any client there reads the state of the engine", "address", l.Addr().String())
	}
	return &Server{ServeMux: http.NewServeMux(), cfg: cfg, listener: l, done: make(chan struct{})}, nil
}

// Serve answers requests until stop.
func (s *Server) Serve() {
	stopping, stop := context.WithCancel(context.Background())
	if s.cfg.Profiles {
		profiles(stopping, s.ServeMux)
	}
	var onlyHTTP1 http.Protocols // a connection is one request at a time
	onlyHTTP1.SetHTTP1(true)
	waiting := &waitingConns{since: map[net.Conn]time.Time{}}
	s.server = &http.Server{
		Handler: guarded(s.ServeMux, s.cfg.Hosts, s.cfg.Certs, s.cfg.OwnCredentials), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, Protocols: &onlyHTTP1,
		DisableGeneralOptionsHandler: true, // it would answer before the guard
		ConnState:                    waiting.state, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	s.server.RegisterOnShutdown(stop)
	l := limited(s.listener, maxHTTP, waiting.closeOldest)
	if s.cfg.Certs != nil {
		l = tls.NewListener(l, s.cfg.Certs.Config(tls.VerifyClientCertIfGiven))
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Log.Error("the HTTP server ended", "error", err)
		}
	}()
}

// URL is the address for clients on this machine.
func (s *Server) URL() string {
	addr := s.listener.Addr().String()
	if tcp, ok := s.listener.Addr().(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	if s.cfg.Certs != nil {
		return "https://" + addr
	}
	return "http://" + addr
}

// Stop ends the server; it waits for its requests while ctx lasts.
func (s *Server) Stop(ctx context.Context) {
	_ = s.server.Shutdown(ctx) // it returns only ctx's error
	<-s.done
}
