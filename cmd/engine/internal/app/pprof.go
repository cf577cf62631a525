package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// checkPprof refuses profiles on a listener that other machines reach: they show what the
// memory holds, and cost time.
func (c *Config) checkPprof() error {
	if !c.Pprof {
		return nil
	}
	host, _, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return nil // --http is refused by its own name
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("--pprof needs --http on a loopback address, such as 127.0.0.1:8080: profiles are for this machine alone")
	}
	return nil
}

// profileTime bounds one profile; the server's own limit for an answer is shorter.
const profileTime = 5 * time.Minute

// profiles serves /debug/pprof/ to this machine. The command line is not among them,
// because it may hold secrets.
func profiles(mux *http.ServeMux) {
	local := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !fromHere(r) {
				http.Error(w, "profiles are for this machine alone", http.StatusForbidden)
				return
			}
			until := time.Now().Add(profileTime)
			conn := http.NewResponseController(w)
			if err := errors.Join(conn.SetWriteDeadline(until), conn.SetReadDeadline(until)); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			// pprof compares with the limit of the server that it finds here.
			ctx, cancel := context.WithDeadline(context.WithValue(r.Context(), http.ServerContextKey, nil), until)
			defer cancel()
			h(w, r.WithContext(ctx))
		}
	}
	mux.HandleFunc("GET /debug/pprof/", local(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/profile", local(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", local(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", local(pprof.Trace))
}
