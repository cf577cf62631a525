package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/mcp"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
)

const mcpPath = "/mcp"

// startMCP serves the Model Context Protocol over HTTP.
func (e *Engine) startMCP() {
	h := mcp.NewHTTP(mcp.HTTPOptions{
		Dial: func(credentials []byte, closed func()) (*nats.Conn, error) {
			return e.nats.dialClient("mcp", credentials, e.cfg.NATSAccess, closed)
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

// dialClient opens a connection with the credentials of a principal, or without any as
// clients of development mode. It is not made again after it is lost: its principal may
// have lost its rights.
func (n *natsServer) dialClient(name string, credentials []byte, access natsio.Access, closed func()) (*nats.Conn, error) {
	url, opts := n.url, slices.Clone(n.access)
	if n.embedded != nil {
		url, opts = embedded.InProcess, n.embedded.ClientOptions()
	} else if credentials != nil { // in place of the engine's own
		url = deployment.WithoutUsers(url)
		transport := natsio.Access{TLSCA: access.TLSCA, TLSCert: access.TLSCert, TLSKey: access.TLSKey}
		var err error
		if opts, err = transport.Options(); err != nil {
			return nil, err
		}
	}
	if credentials != nil {
		who, err := natsio.Credentials(string(credentials))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", nats.ErrAuthorization, err)
		}
		opts = append(opts, who...)
	}
	opts = append(opts, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { closed() }))
	return natsio.Connect(url, "tidemark-"+name, slog.New(slog.DiscardHandler), opts...)
}
