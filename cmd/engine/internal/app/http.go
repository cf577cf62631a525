package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

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
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", e.readyz)
	e.metrics.registry.MustRegister(&scrape{e})
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.metrics.registry, promhttp.HandlerOpts{}))
	s := &httpServer{
		server:   &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
		listener: l, done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server ended", "error", err)
		}
	}()
	return s, nil
}

func (e *Engine) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	var answer struct {
		Ready   bool                 `json:"ready"`
		Reasons []string             `json:"reasons"`
		Views   []projections.Status `json:"views"`
	}
	answer.Ready, answer.Reasons = e.ready(ctx)
	heads, _ := e.journal.heads(ctx) // an error is among the reasons
	answer.Views = e.views.status(heads)
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
