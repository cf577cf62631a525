// Package origin says where a request of HTTP comes from.
package origin

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// proxied are headers in which proxies say for whom they ask, beside those of the family
// X-Forwarded-….
var proxied = []string{
	"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-Forwarded-For", "X-Envoy-External-Address",
	"True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip",
}

// Here reports whether a request comes from a program on this machine, and from no proxy on
// it, which may ask for anyone. A header of a proxy counts whatever it holds.
func Here(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || slices.Contains(proxied, name) {
			return false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback()
}
