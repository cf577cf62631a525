package app

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/internal/readiness"
)

// The HTTP server answers from the first moment of a start, about an engine that is not
// there yet, and from then on what the components say.
func TestHTTPAnswersWhileTheEngineStarts(t *testing.T) {
	e := &Engine{metrics: newMetrics(), readiness: readiness.New(), started: time.Now(), log: slog.New(slog.DiscardHandler)}
	e.starting("the journal is read")
	s, err := startHTTP(&settings.Config{HTTP: "127.0.0.1:0"}, e, e.log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop(t.Context())
	ask := func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.url()+path, nil)
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
