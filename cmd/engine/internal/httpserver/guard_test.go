package httpserver

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func noDoor(string) bool { return false }

// What a browser can be made to send reaches nothing, what probes send does.
func TestHTTPIsGuardedAgainstOtherSites(t *testing.T) {
	reached := false
	h := guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }), []string{"engine.example.org"}, nil, noDoor)
	for _, c := range []struct {
		method, host, origin, site string
		code                       int
	}{
		{"GET", "localhost", "", "", 200},
		{"GET", "LOCALHOST.:8080", "", "", 200},
		{"GET", "127.0.0.1:8080", "", "", 200},
		{"GET", "[::1]:8080", "", "", 200},
		{"GET", "[::1]", "", "", 200},
		{"GET", "10.1.2.3:8080", "", "", 200}, // a kubelet
		{"GET", "", "", "", 200},              // HTTP/1.0
		{"HEAD", "Engine.example.org:80", "", "", 200},
		{"GET", "evil.example.org", "", "", 421},
		{"GET", "evil.example.org:8080", "", "", 421},
		{"GET", "localhost.evil.org", "", "", 421},
		{"GET", "127.0.0.1.evil.org", "", "", 421},
		{"GET", "2130706433", "", "", 421},
		{"GET", "a.engine.example.org", "", "", 421},
		{"POST", "evil.example.org", "http://evil.example.org", "same-origin", 421},
		{"GET", "localhost", "http://evil.org", "cross-site", 200}, // shows nothing to the page
		{"POST", "localhost", "http://evil.org", "", 403},
		{"POST", "localhost", "null", "", 403},
		{"PUT", "localhost", "", "cross-site", 403},
		{"DELETE", "localhost:8080", "http://localhost:9090", "same-site", 403},
		{"POST", "localhost:8080", "http://localhost:8080", "same-origin", 200},
		{"POST", "localhost", "", "", 200}, // no browser
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		reached = false
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.code || reached != (c.code == 200) {
			t.Errorf("%+v: %d", c, w.Code)
		}
		for name, value := range securityHeaders {
			if w.Header().Get(name) != value {
				t.Errorf("%+v: no header %s", c, name)
			}
		}
	}
}

// httpServerOf is a running server.
func httpServerOf(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Listen, cfg.OwnCredentials, cfg.Log = "127.0.0.1:0", noDoor, slog.New(slog.DiscardHandler)
	s, err := Listen(cfg)
	harness.Must(t, err)
	for _, page := range []string{"/healthz", "/metrics"} {
		s.HandleFunc("GET "+page, func(http.ResponseWriter, *http.Request) {})
	}
	s.Serve()
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

// Connections that send nothing, too slowly or too much hold up no probe; no debug page
// is there.
func TestHTTPEndures(t *testing.T) {
	normal := readHeaderTimeout
	readHeaderTimeout = 300 * time.Millisecond
	defer func() { readHeaderTimeout = normal }()
	s := httpServerOf(t, Config{})
	dial := func(send string) net.Conn {
		c, err := net.Dial("tcp", s.listener.Addr().String())
		harness.Must(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = io.WriteString(c, send)
		harness.Must(t, err)
		return c
	}
	const probe = "GET /healthz HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"
	answer := func(c net.Conn) string {
		_ = c.SetDeadline(time.Now().Add(harness.Patience))
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	slow := dial("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")
	for range 3 * maxHTTP {
		dial("")
	}
	if got := answer(dial(probe)); got != "HTTP/1.1 200 OK" {
		t.Errorf("beside idle connections: %q", got)
	}
	if got := answer(slow); got != "" && !strings.Contains(got, "408") {
		t.Errorf("a slow request: %q", got)
	}
	for name, c := range map[string]struct{ send, says string }{
		"large headers": {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431"},
		"no host":       {"GET /healthz HTTP/1.1\r\n\r\n", "400"},
		"a foreign one": {"GET /metrics HTTP/1.1\r\nHost: evil.org\r\n\r\n", "421"},
		"HTTP/1.0":      {"GET /healthz HTTP/1.0\r\n\r\n", "200"},
		"pprof":         {"GET /debug/pprof/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"},
		"vars":          {"GET /debug/vars HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"},
		"trace":         {"TRACE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"},
		"asterisk":      {"OPTIONS * HTTP/1.1\r\nHost: evil.org\r\n\r\n", "421"},
		"a tunnel":      {"CONNECT evil.org:443 HTTP/1.1\r\nHost: evil.org:443\r\n\r\n", "421"},
		"two hosts":     {"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.org\r\n\r\n", "400"},
		"a proxy's":     {"GET http://evil.org/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "421"},
	} {
		if got := answer(dial(c.send)); !strings.Contains(got, c.says) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Beyond this machine only what probes need is shown without a client certificate, also where
// the engine asks for none.
func TestHTTPBeyondThisMachine(t *testing.T) {
	ca, dir := harness.NewCA(t), t.TempDir()
	f := certs.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	ca.Issue(f.Cert, f.Key, "server", time.Hour, "engine.test")
	c, err := certs.Open(f)
	harness.Must(t, err)
	h := guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil, c, (&settings.Config{Auth: "on"}).OwnCredentials)
	without := guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil, c, (&settings.Config{Auth: "off"}).OwnCredentials)
	for from, want := range map[string]int{"127.0.0.1:999": 200, "[::1]:999": 200, "[::ffff:127.0.0.1]:999": 200, "192.0.2.1:999": 403, "[2001:db8::1]:999": 403, "": 403} {
		for path, open := range map[string]bool{"/metrics": false, "/debug/pprof/": false, "/": true, "/healthz": true, "/readyz": true, "/mcp": true} {
			r := httptest.NewRequest(http.MethodGet, "https://engine.test"+path, nil)
			r.RemoteAddr = from
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			code := want
			if open {
				code = 200
			}
			if w.Code != code {
				t.Errorf("%s from %q: %d, want %d", path, from, w.Code, code)
			}
			w = httptest.NewRecorder()
			if without.ServeHTTP(w, r); (path == "/mcp" || path == "/") && w.Code != want {
				t.Errorf("%s from %q without --auth on: %d, want %d", path, from, w.Code, want)
			}
		}
	}
}

// What a proxy on this machine forwards is not from this machine.
func TestHTTPBehindAProxy(t *testing.T) {
	ca, dir := harness.NewCA(t), t.TempDir()
	f := certs.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	ca.Issue(f.Cert, f.Key, "server", time.Hour, "engine.test")
	c, err := certs.Open(f)
	harness.Must(t, err)
	h := guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil, c, (&settings.Config{Auth: "on"}).OwnCredentials)
	for header, want := range map[string]int{"": 200, "X-Forwarded-For": 403, "X-Real-Ip": 403, "Via": 403} {
		r := httptest.NewRequest(http.MethodGet, "https://engine.test/metrics", nil)
		if r.RemoteAddr = "127.0.0.1:999"; header != "" {
			r.Header.Set(header, "192.0.2.1")
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("with %q: %d, want %d", header, w.Code, want)
		}
	}
}

// Where people sign in to the console, it needs no certificate of a client unless the engine
// asks for them; the metrics do.
func TestHTTPWhereSignInIs(t *testing.T) {
	ca, dir := harness.NewCA(t), t.TempDir()
	f := certs.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	ca.Issue(f.Cert, f.Key, "server", time.Hour, "engine.test")
	for clientCA, want := range map[string]map[string]int{
		"":      {"/": 200, "/signin": 200, "/assets/console.css": 200, "/metrics": 403, "/healthz": 200},
		ca.File: {"/": 403, "/signin": 403, "/metrics": 403, "/healthz": 200},
	} {
		f.ClientCA = clientCA
		c, err := certs.Open(f)
		harness.Must(t, err)
		h := guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil, c, (&settings.Config{Auth: "on"}).OwnCredentials)
		for path, code := range want {
			r := httptest.NewRequest(http.MethodGet, "https://engine.test"+path, nil)
			r.RemoteAddr = "192.0.2.1:999"
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != code {
				t.Errorf("%s with client CA %q: %d, want %d", path, clientCA, w.Code, code)
			}
		}
	}
}
