package telemetry

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/reference/metrics.md")

// docs/reference/metrics.md lists every metric. With -update the test writes its tables.
func TestMetricsPage(t *testing.T) {
	file := filepath.Join("..", "..", "..", "..", "docs", "reference", "metrics.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := string(page)
	for _, table := range []struct{ name, text string }{{"metrics", metricsTable()}, {"old names", aliasTable()}} {
		begin, end := "<!-- "+table.name+": generated -->\n", "<!-- end -->"
		before, rest, found := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no table of %s", file, table.name)
		}
		want = before + begin + "\n" + table.text + "\n" + end + after
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Errorf("%s differs from the metrics: go test ./cmd/engine/internal/telemetry -run TestMetricsPage -update", file)
	}
}

// metricsTable is the catalog as a table for docs/reference/metrics.md.
func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range catalog {
		if m.instead == "" {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, quoted(m.labels), m.help)
		}
	}
	return b.String()
}

// aliasTable is the same for the old names.
func aliasTable() string {
	var b strings.Builder
	b.WriteString("| old name | type | labels | read instead |\n|---|---|---|---|\n")
	for _, m := range catalog {
		if m.instead != "" {
			fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", m.name, m.kind, quoted(m.labels), m.instead)
		}
	}
	return b.String()
}

func quoted(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	return "`" + strings.Join(labels, "`, `") + "`"
}

// A client chooses the names of its consumers: they make no series without a bound.
func TestSourcesOfDeadLettersAreBounded(t *testing.T) {
	letters := map[string]uint64{"commands": 3, "reactor.timers": 1}
	for i := range 100 {
		letters["consumer.TASK_EXECUTION.c"+strings.Repeat("x", i)] = 2
	}
	got, sum := bounded(letters), uint64(0)
	for _, n := range got {
		sum += n
	}
	if len(got) > maxSources+3 || sum != 204 || got["commands"] != 3 || got["reactor.timers"] != 1 {
		t.Errorf("%d series with %d letters: %v", len(got), sum, got)
	}
}

// So do declared views.
func TestViewsInMetricsAreBounded(t *testing.T) {
	m, labels := New(), map[string]bool{}
	for i := range 2 * maxDeclared {
		labels[m.label("view.v"+strconv.Itoa(i))] = true
	}
	if len(labels) != maxDeclared+1 || !labels[otherViews] || m.label("view.v0") != "view.v0" || m.label("hot") != "hot" {
		t.Errorf("%d labels", len(labels))
	}
}
