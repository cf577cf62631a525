package observe_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// listed are the metrics that docs/reference/metrics.md names, and the old ones among them.
func listed(t *testing.T) (all, old map[string]bool) {
	t.Helper()
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	harness.Must(t, err)
	current, aliases, found := strings.Cut(string(page), "## Old names")
	if !found {
		t.Fatal("docs/reference/metrics.md has no old names")
	}
	names := func(text string) map[string]bool {
		found := map[string]bool{}
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(text, -1) {
			found[m[1]] = true
		}
		return found
	}
	return names(current), names(aliases)
}

// rare are listed metrics that this engine has no reason to show.
var rare = map[string]bool{
	"tidemark_tls_certificate_expiry_timestamp_seconds": true, "tidemark_tls_reload_failures_total": true,
	"tidemark_refused_total": true, "tidemark_reminders_fired_total": true, "tidemark_problem_seconds": true,
}

func (w *world) metricsListed(t *testing.T) {
	w.c.MustGet(t, "a1", "queued", nil) // a tier answers
	harness.Eventually(t, "the audit and the look at the tasks show", func() bool {
		page := w.Metrics(t.Context())
		return strings.Contains(page, "\ntidemark_audit_last_verified_timestamp_seconds ") && strings.Contains(page, "\ntidemark_tasks_stuck 0\n") &&
			strings.Contains(page, "\ntidemark_journal_bytes ")
	})
	page := w.Metrics(t.Context())
	all, old := listed(t)
	shown := map[string]bool{}
	for line := range strings.SplitSeq(page, "\n") {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " ")
		if !strings.HasPrefix(line, "# TYPE ") || strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		shown[name] = true
		if !all[name] && !old[name] {
			t.Errorf("%s is not in docs/reference/metrics.md", name)
		}
		if !old[name] && !strings.HasPrefix(name, "tidemark_") {
			t.Errorf("%s does not start with tidemark_", name)
		}
	}
	for name := range all {
		if !shown[name] && !rare[name] {
			t.Errorf("docs/reference/metrics.md has %s, /metrics has not", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	harness.Must(t, err)
	for _, p := range problems {
		if !old[p.Metric] && !strings.HasPrefix(p.Metric, "go_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for name, want := range map[string]float64{"tidemark_nats_up": 1, "tidemark_postgres_up": 1, "tidemark_ready": 1, `tidemark_dead_letters{source="commands"}`: 0} {
		if got := value(t, page, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if value(t, page, "tidemark_journal_bytes") <= 0 || value(t, page, "tidemark_journal_limit_bytes") <= value(t, page, "tidemark_journal_bytes") {
		t.Error("the journal takes nothing, or more than it may")
	}
}

// value is that of a series on a page of metrics; -1 = there is none.
func value(t *testing.T, page, series string) float64 {
	t.Helper()
	for line := range strings.SplitSeq(page, "\n") {
		if text, found := strings.CutPrefix(line, series+" "); found {
			n, err := strconv.ParseFloat(text, 64)
			harness.Must(t, err)
			return n
		}
	}
	return -1
}

// sqlAway runs last: the views in SQL stay behind while the way to Postgres is cut.
func (w *world) sqlAway(t *testing.T) {
	w.sql.Cut()
	defer w.sql.Heal()
	w.c.MustSet(t, "a1", "away", 1, nil)
	const lag = `tidemark_view_lag_seconds{partition="0",view="durable"}`
	harness.Eventually(t, "the metrics say that Postgres is away and SQL is behind", func() bool {
		page := w.Metrics(t.Context())
		return value(t, page, "tidemark_postgres_up") == 0 && value(t, page, lag) > 3 && value(t, page, "tidemark_nats_up") == 1 &&
			value(t, page, `tidemark_view_lag_events{partition="0",view="durable"}`) > 0 && value(t, page, `tidemark_view_up{partition="0",view="durable"}`) == 0
	})
	w.sql.Heal()
	harness.Eventually(t, "SQL catches up", func() bool {
		page := w.Metrics(t.Context())
		return value(t, page, "tidemark_postgres_up") == 1 && value(t, page, lag) == 0
	})
}

func (w *world) profiles(t *testing.T) {
	for path, want := range map[string]int{
		"/debug/pprof/": 200, "/debug/pprof/heap?debug=1": 200, "/debug/pprof/goroutine?debug=1": 200,
		"/debug/pprof/profile?seconds=1": 200, "/debug/pprof/cmdline": 404,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.HTTPURL+path, nil)
		harness.Must(t, err)
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		harness.Must(t, err)
		body, err := io.ReadAll(resp.Body)
		harness.Must(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != want || len(body) == 0 {
			t.Errorf("%s: %d with %d bytes, want %d", path, resp.StatusCode, len(body), want)
		}
	}
	r := harness.Run(t, "serve", "--data", t.TempDir()+"/data", "--http", "0.0.0.0:0", "--http-insecure", "--pprof")
	if r.Code != 2 || !strings.Contains(r.Stderr, "--pprof needs --http on a loopback address") {
		t.Errorf("--pprof on every address: %+v", r)
	}
}
