package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpServer answers /healthz, /readyz and /metrics.
type httpServer struct {
	server   *http.Server
	listener net.Listener
	done     chan struct{}
}

func startHTTP(e *engine) (*httpServer, error) {
	l, err := net.Listen("tcp", e.cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("--http: %w (127.0.0.1:0 chooses a free port)", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "alive")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), lookTime)
		defer cancel()
		ok, reasons := e.ready(ctx)
		w.Header().Set("Content-Type", "application/json")
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		heads, _ := e.heads(ctx) // its failure is among the reasons
		err := json.NewEncoder(w).Encode(map[string]any{"ready": ok, "reasons": reasons, "views": e.viewStatus(heads)})
		if err != nil {
			e.log.Debug("readyz: the asker went away", "error", err)
		}
	})
	e.metrics.watch(e)
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.metrics.registry, promhttp.HandlerOpts{}))
	s := &httpServer{
		server:   &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
		listener: l, done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.log.Error("HTTP stopped", "error", err)
		}
	}()
	return s, nil
}

func (s *httpServer) url() string { return "http://" + s.listener.Addr().String() }

func (s *httpServer) stop(ctx context.Context) {
	_ = s.server.Shutdown(ctx) // only ctx's own error, and close bounds that
	<-s.done
}
