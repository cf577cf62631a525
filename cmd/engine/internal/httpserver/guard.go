package httpserver

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/internal/origin"
)

// guarded protects a handler against what browsers are made to send. A page of
// another site cannot change anything, and a foreign name that is made to lead here
// (DNS rebinding) is 421. Addresses are no names: probes of a kubelet use them. A path with
// credentials of its own needs a client certificate only where all clients need one.
func guarded(h http.Handler, names []string, c *certs.Certificates, ownCredentials func(path string) bool) http.Handler {
	same := http.NewCrossOriginProtection().Handler(h) // 403
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range securityHeaders {
			w.Header().Set(name, value)
		}
		switch host := hostOf(r.Host); {
		case !known(host, names) && (c == nil || !c.Covers(host)):
			http.Error(w, "this host name is not one of the engine's; --http-hosts names further ones", http.StatusMisdirectedRequest)
		case c != nil && (c.ClientAuth() || !origin.Here(r) && !ownCredentials(r.URL.Path)) && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && len(r.TLS.VerifiedChains) == 0:
			http.Error(w, "this page needs a client certificate (--tls-client-ca)", http.StatusForbidden)
		default:
			same.ServeHTTP(w, r)
		}
	})
}

var securityHeaders = map[string]string{
	"Cache-Control":                "no-store",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// hostOf is the host of a Host header in lower case, without its port and without the
// dot of the root domain.
func hostOf(header string) string {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// known reports whether a host needs no certificate to be the engine's. A request of
// HTTP/1.0 may have none.
func known(host string, names []string) bool {
	return host == "" || host == "localhost" || net.ParseIP(host) != nil ||
		slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, host) })
}
