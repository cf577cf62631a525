package httpserver

import (
	"context"
	"errors"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/tidemark-engine/tidemark/internal/origin"
)

// profileTime bounds one profile; the server's own limit for an answer is shorter.
const profileTime = 5 * time.Minute

// askedHere reports whether a program on this machine asks for itself: not for a client of
// a proxy, nor for a page of another site.
func askedHere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return origin.Here(r) && (site == "" || site == "none" || site == "same-origin")
}

// profiles serves /debug/pprof/ to this machine until stopping ends. The command line is
// not among them, because it may hold secrets.
func profiles(stopping context.Context, mux *http.ServeMux) {
	local := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !askedHere(r) {
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
			defer context.AfterFunc(stopping, cancel)() // a profile delays no stop
			h(w, r.WithContext(ctx))
		}
	}
	mux.HandleFunc("GET /debug/pprof/", local(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/profile", local(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", local(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", local(pprof.Trace))
}
