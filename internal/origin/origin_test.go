package origin

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A request that a proxy forwards is not from this machine, although its connection is.
func TestHere(t *testing.T) {
	for from, want := range map[string]bool{"127.0.0.1:9": true, "[::1]:9": true, "[::ffff:127.0.0.1]:9": true, "192.0.2.1:9": false, "": false} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if r.RemoteAddr = from; Here(r) != want {
			t.Errorf("%q: %v", from, !want)
		}
	}
	for _, header := range append(proxied, "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto") {
		for _, values := range [][]string{{"192.0.2.1"}, {"127.0.0.1"}, {""}, {"", "192.0.2.1"}} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = "127.0.0.1:9"
			for _, v := range values {
				r.Header.Add(header, v)
			}
			if Here(r) {
				t.Errorf("%s: %q", header, values)
			}
		}
	}
}
