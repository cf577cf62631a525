// Package deploy_test checks what deploy/ has: that alerts fire when they must and only
// then, that the dashboard asks for metrics that exist, and that manifests and units are
// valid. It is a module of its own, because it needs Prometheus and the types of
// Kubernetes, which the engine does not.
package deploy_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	return b
}

// metrics are those of docs/reference/metrics.md, which a test of the engine keeps true,
// with their labels.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{
		"up": nil, "process_resident_memory_bytes": nil, "process_cpu_seconds_total": nil,
	}
	page, _, found := strings.Cut(string(read(t, "../../docs/reference/metrics.md")), "## Old names")
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (counter|gauge|histogram) \\| (.*?) \\|").FindAllStringSubmatch(page, -1)
	if !found || len(rows) < 20 {
		t.Fatalf("docs/reference/metrics.md has %d metrics", len(rows))
	}
	for _, row := range rows {
		var labels []string
		for _, l := range strings.Split(row[3], ",") {
			labels = append(labels, strings.Trim(l, " `"))
		}
		if row[2] == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[row[1]+part] = append(labels, "le")
			}
			continue
		}
		known[row[1]] = labels
	}
	return known
}

// scraped are the labels that a scrape adds.
var scraped = []string{"job", "instance"}

var promqlParser = parser.NewParser(parser.Options{})

// check parses an expression and reports what it asks for that does not exist.
func check(t *testing.T, where, expr string, known map[string][]string) {
	t.Helper()
	tree, err := promqlParser.ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %s: %v", where, expr, err)
		return
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		selector, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		labels, exists := known[selector.Name]
		if !exists {
			t.Errorf("%s: there is no metric %q", where, selector.Name)
		}
		for _, m := range selector.LabelMatchers {
			if m.Name != "__name__" && !contains(labels, m.Name) && !contains(scraped, m.Name) {
				t.Errorf("%s: %s has no label %s", where, selector.Name, m.Name)
			}
		}
		return nil
	})
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}
