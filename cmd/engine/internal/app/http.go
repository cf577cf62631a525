package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/projections"
)

// httpServer answers /healthz, /readyz and /metrics.
type httpServer struct {
	server   *http.Server
	listener net.Listener
	done     chan struct{}
}

func startHTTP(addr string, e *Engine, log *slog.Logger) (*httpServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--http: %w (127.0.0.1:0 chooses a free port)", err)
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		log.Warn("--http is reachable from other machines: any client there reads the state of the engine", "address", l.Addr().String())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", e.healthz)
	mux.HandleFunc("GET /readyz", e.readyz)
	e.metrics.registry.MustRegister(&scrape{e})
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.metrics.registry, promhttp.HandlerOpts{}))
	s := &httpServer{
		server: &http.Server{
			Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
			IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		},
		listener: l, done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(limited(l, maxHTTP)); !errors.Is(err, http.ErrServerClosed) {
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
		answer.Views = e.views.status(e.journal.lastHeads(), false)
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		e.log.Debug("/readyz: the client disconnected", "error", err)
	}
}

func (s *httpServer) url() string { return "http://" + s.listener.Addr().String() }

func (s *httpServer) stop(ctx context.Context) {
	_ = s.server.Shutdown(ctx) // it returns only ctx's error
	<-s.done
}
