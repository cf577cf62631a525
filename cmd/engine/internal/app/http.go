package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/projections"
)

// readHeaderTimeout bounds the time from a request's first byte to the end of its
// headers. Tests shorten it.
var readHeaderTimeout = 5 * time.Second

// httpServer answers /healthz, /readyz, /metrics and /mcp, and has the console.
type httpServer struct {
	server   *http.Server
	listener net.Listener
	secure   bool // TLS
	console  *console.Console
	done     chan struct{}
}

func startHTTP(cfg *settings.Config, e *Engine, log *slog.Logger) (*httpServer, error) {
	l, err := net.Listen("tcp", cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("--http: %w (127.0.0.1:0 chooses a free port)", err)
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		log.Warn("--http is reachable from other machines: any client there reads the state of the engine", "address", l.Addr().String())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", e.healthz)
	mux.HandleFunc("GET /readyz", e.readyz)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} { // the console has every other GET
		mux.HandleFunc(method+" "+mcpPath, e.serveMCP)
	}
	e.metrics.registry.MustRegister(&scrape{e})
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.metrics.registry, promhttp.HandlerOpts{}))
	stopping, stop := context.WithCancel(context.Background())
	if cfg.Pprof {
		profiles(stopping, mux)
	}
	pages := e.newConsole(cfg, log)
	pages.Register(mux)
	var onlyHTTP1 http.Protocols // a connection is one request at a time
	onlyHTTP1.SetHTTP1(true)
	waiting := &waitingConns{since: map[net.Conn]time.Time{}}
	s := &httpServer{
		server: &http.Server{
			Handler: guarded(mux, cfg.HTTPHosts, e.certs, cfg.OwnCredentials), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: 10 * time.Second,
			WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, Protocols: &onlyHTTP1,
			DisableGeneralOptionsHandler: true, // it would answer before the guard
			ConnState:                    waiting.state, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		listener: l, console: pages, secure: e.certs != nil, done: make(chan struct{}),
	}
	s.server.RegisterOnShutdown(stop)
	serve := limited(l, maxHTTP, waiting.closeOldest)
	if s.secure {
		serve = tls.NewListener(serve, e.certs.Config(tls.VerifyClientCertIfGiven))
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(serve); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server ended", "error", err)
		}
	}()
	return s, nil
}

// healthz is 200 while the engine works or recovers by itself.
func (e *Engine) healthz(w http.ResponseWriter, _ *http.Request) {
	report := e.readiness.Report()
	if report.Alive {
		fmt.Fprintln(w, "alive")
		return
	}
	http.Error(w, strings.Join(report.Reasons(), "\n"), http.StatusServiceUnavailable)
}

// readyz is 200 while commands are executed.
func (e *Engine) readyz(w http.ResponseWriter, _ *http.Request) {
	report := e.readiness.Report()
	answer := struct {
		Ready    bool                 `json:"ready"`
		Reasons  []string             `json:"reasons"`
		Problems []readiness.Problem  `json:"problems,omitempty"`
		Uptime   float64              `json:"uptime_seconds"`
		Views    []projections.Status `json:"views"`
	}{report.Ready, report.Reasons(), report.Problems, time.Since(e.started).Seconds(), []projections.Status{}}
	if e.assembled.Load() {
		answer.Views = e.views.status(e.journal.lastHeads())
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		e.log.Debug("/readyz: the client disconnected", "error", err)
	}
}

// url is the address for clients on this machine.
func (s *httpServer) url() string {
	addr := s.listener.Addr().String()
	if tcp, ok := s.listener.Addr().(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	if s.secure {
		return "https://" + addr
	}
	return "http://" + addr
}

func (s *httpServer) stop(ctx context.Context) {
	s.console.Close()          // ends its live pages
	_ = s.server.Shutdown(ctx) // it returns only ctx's error
	<-s.done
}
