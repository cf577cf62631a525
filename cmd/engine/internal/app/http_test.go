package app

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/telemetry"
	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// The HTTP server answers from the first moment of a start, about an engine that is not
// there yet, and from then on what the components say.
func TestHTTPAnswersWhileTheEngineStarts(t *testing.T) {
	e := &Engine{metrics: telemetry.New(), readiness: readiness.New(), started: time.Now(), log: slog.New(slog.DiscardHandler), cfg: &settings.Config{HTTP: "127.0.0.1:0"}}
	e.starting("the journal is read")
	harness.Must(t, e.serveHTTP(t.Context()))
	defer e.Stop()
	ask := func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, e.http.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for _, c := range []struct {
		method, path string
		code         int
		text         string
	}{
		{http.MethodGet, "/healthz", 200, "alive"},
		{http.MethodGet, "/readyz", 503, "starting: the journal is read"},
		{http.MethodGet, "/metrics", 200, "tidemark_ready 0"},
		{http.MethodGet, "/nothing", 404, ""},
		{http.MethodGet, "/debug/pprof/", 404, ""},
		{http.MethodGet, "/debug/vars", 404, ""},
		{http.MethodPost, "/readyz", 405, ""},
		{http.MethodDelete, "/healthz", 405, ""},
		{http.MethodPut, "/metrics", 405, ""},
	} {
		if code, body := ask(c.method, c.path); code != c.code || !strings.Contains(body, c.text) {
			t.Errorf("%s %s: %d %s", c.method, c.path, code, body)
		}
	}
	e.readiness.Set("engine", readiness.OK, "")
	for _, c := range []struct {
		level           readiness.Level
		ready, healthy  int
		readyIs         bool
		metric, problem string
	}{
		{readiness.OK, 200, 200, true, "tidemark_ready 1", ""},
		{readiness.Degraded, 200, 200, true, "tidemark_ready 1", "postgres: frozen"},
		{readiness.NotReady, 503, 200, false, "tidemark_ready 0", "postgres: frozen"},
		{readiness.Failed, 503, 503, false, "tidemark_alive 0", "postgres: frozen"},
	} {
		e.readiness.Set("postgres", c.level, "frozen")
		code, body := ask(http.MethodGet, "/readyz")
		var got struct {
			Ready    bool
			Reasons  []string
			Problems []readiness.Problem
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != c.ready || got.Ready != c.readyIs ||
			strings.Join(got.Reasons, "") != c.problem || len(got.Problems) != len(got.Reasons) {
			t.Errorf("%s: %d %s, %v", c.level, code, body, err)
		}
		if code, body := ask(http.MethodGet, "/healthz"); code != c.healthy {
			t.Errorf("%s: /healthz %d %s", c.level, code, body)
		}
		if _, body := ask(http.MethodGet, "/metrics"); !strings.Contains(body, c.metric) {
			t.Errorf("%s: no %s", c.level, c.metric)
		}
	}
}

// Over TLS the names in the certificate are the engine's. With a client CA all but the
// probes' pages need a certificate.
func TestHTTPS(t *testing.T) {
	ca, dir := harness.NewCA(t), t.TempDir()
	f := certs.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), ClientCA: ca.File}
	ca.Issue(f.Cert, f.Key, "server", time.Hour, "engine.test", "127.0.0.1")
	c, err := certs.Open(f)
	harness.Must(t, err)
	e := &Engine{
		metrics: telemetry.New(), readiness: readiness.New(), started: time.Now(), log: slog.New(slog.DiscardHandler),
		cfg: &settings.Config{HTTP: "127.0.0.1:0", TLS: f},
	}
	harness.Must(t, e.serveHTTP(t.Context()))
	defer e.Stop()
	ca.Issue(dir+"/client", dir+"/client.key", "client", time.Hour)
	pair, err := tls.LoadX509KeyPair(dir+"/client", dir+"/client.key")
	harness.Must(t, err)
	for _, with := range [][]tls.Certificate{nil, {pair}} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), Certificates: with}}}
		for path, want := range map[string][2]int{"/healthz": {200, 200}, "/readyz": {200, 200}, "/metrics": {403, 200}, "/none": {403, 404}} {
			for host, known := range map[string]bool{"": true, "engine.test": true, "evil.test": false} {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.http.URL()+path, nil)
				harness.Must(t, err)
				r.Host = host
				resp, err := client.Do(r)
				harness.Must(t, err)
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				code := want[len(with)]
				if !known {
					code = http.StatusMisdirectedRequest
				}
				if resp.StatusCode != code {
					t.Errorf("%s of %q with %d certificates: %d, want %d", path, host, len(with), resp.StatusCode, code)
				}
				if path == "/metrics" && code == 200 && !strings.Contains(string(body), fmt.Sprintf("tidemark_tls_certificate_expiry_timestamp_seconds %g", float64(c.Status().NotAfter.Unix()))) {
					t.Errorf("no expiry in %s", body)
				}
			}
		}
	}
	if resp, err := http.Get("http" + strings.TrimPrefix(e.http.URL(), "https") + "/metrics"); err == nil {
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("without TLS: %d", resp.StatusCode)
		}
	}
}

// TestProbesOfOtherMachines: who has no certificate learns whether the engine is ready and which
// component has a problem, and not whose it is.
func TestProbesOfOtherMachines(t *testing.T) {
	ca, dir := harness.NewCA(t), t.TempDir()
	f := certs.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), ClientCA: ca.File}
	ca.Issue(f.Cert, f.Key, "server", time.Hour, "engine.test")
	c, err := certs.Open(f)
	harness.Must(t, err)
	e := &Engine{readiness: readiness.New(), started: time.Now(), log: slog.New(slog.DiscardHandler), certs: c}
	e.readiness.Set("views", readiness.Failed, "quarantined: agent.alice.mood")
	for from, named := range map[string]bool{"192.0.2.1:999": false, "127.0.0.1:999": true} {
		for path, handle := range map[string]http.HandlerFunc{"/readyz": e.readyz, "/healthz": e.healthz} {
			r := httptest.NewRequest(http.MethodGet, "https://engine.test"+path, nil)
			r.RemoteAddr = from
			w := httptest.NewRecorder()
			handle(w, r)
			if body := w.Body.String(); w.Code != 503 || !strings.Contains(body, "views: ") || strings.Contains(body, "alice") != named {
				t.Errorf("%s from %s: %d %s", path, from, w.Code, body)
			}
		}
	}
}
