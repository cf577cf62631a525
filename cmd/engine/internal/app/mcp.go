package app

import (
	"context"
	"net/http"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/mcp"
)

const mcpPath = "/mcp"

// startMCP serves the Model Context Protocol over HTTP.
func (e *Engine) startMCP() {
	h := mcp.NewHTTP(mcp.HTTPOptions{
		Dial: func(credentials []byte, closed func()) (*nats.Conn, error) {
			return e.nats.DialClient("mcp", credentials, e.cfg.NATSAccess, closed)
		},
		Auth: e.cfg.Authenticated(), Prefix: e.cfg.SubjectPrefix, Version: e.version,
		MaxBody: 2 * int64(e.cfg.LimitsBody), // an escaped text is longer
	})
	e.mcp.Store(h)
	e.stops.Add(func(context.Context) { h.Close() })
}

func (e *Engine) serveMCP(w http.ResponseWriter, r *http.Request) {
	h := e.mcp.Load()
	if h == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the engine starts: try again", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r)
}
