package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// Two tiny cells on the real engine: the figures mean nothing, but every column
// has one, and the report and its plots are written.
func TestTwoTinyCells(t *testing.T) {
	tiny := size{rounds: 1, lasts: 60 * time.Millisecond, levels: []int{1, 4}}
	b := &bench{options: &options{size: tiny}, log: io.Discard}
	defer b.close()
	rep := report{Command: "make bench", Date: "today", Machine: machine()}
	for _, c := range chosen(allCells, regexp.MustCompile("command-alone|curve-relaxed")) {
		r, err := b.play(t.Context(), &c)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if r.Own.Median <= 0 || r.Yard.Median <= 0 || r.Ratio <= 0 || r.Rounds != 1 {
			t.Errorf("%s has no figures: %+v", c.name, r)
		}
		rep.Cells = append(rep.Cells, r)
	}
	if got := len(rep.Cells); got != 2 {
		t.Fatalf("%d cells were played, want 2", got)
	}
	rep.Curves = b.curves
	table := strings.Split(strings.TrimSpace(rep.text()), "\n")
	if len(table) != 3 || !strings.HasPrefix(table[0], "cell") || !strings.HasPrefix(table[1], "command-alone") {
		t.Errorf("the table is not one head and two rows:\n%s", rep.text())
	}
	file := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(file, []byte("an older run\n"+byHand+"\nIn the disk.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rep.write(file); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"make bench", "| command-alone | ms |", "benchmarks/relaxed-throughput.svg", "In the disk."} {
		if !strings.Contains(string(doc), part) {
			t.Errorf("the report lacks %q:\n%s", part, doc)
		}
	}
	if strings.Contains(string(doc), "an older run") {
		t.Errorf("the report keeps the text of an older run:\n%s", doc)
	}
	plot, err := os.ReadFile(filepath.Join(filepath.Dir(file), "benchmarks", "relaxed-latency.svg"))
	if err != nil || strings.Count(string(plot), "<polyline") != 4 {
		t.Errorf("the plot does not have four lines: %v\n%s", err, plot)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		ratio, target float64
		atMost        bool
		want          string
	}{
		{1.2, 1.25, true, "yes"}, {1.3, 1.25, true, "**no**"},
		{0.7, 0.6, false, "yes"}, {0.5, 0.6, false, "**no**"}, {0.5, 0, false, "–"},
	} {
		r := result{Ratio: c.ratio, Target: c.target, AtMost: c.atMost}
		if _, got := r.verdict(); got != c.want {
			t.Errorf("ratio %g, target %g, at most %v: met is %s, want %s", c.ratio, c.target, c.atMost, got, c.want)
		}
	}
}

func TestSummaries(t *testing.T) {
	r := result{}
	ms := time.Millisecond
	r.take([]round{
		{own: side{10, []time.Duration{3 * ms, 1 * ms}}, yard: side{value: 5}},
		{own: side{30, []time.Duration{2 * ms}}, yard: side{value: 10}},
		{own: side{20, nil}, yard: side{value: 5}},
	})
	if r.Own.Median != 20 || r.Own.Min != 10 || r.Own.Max != 30 || r.Own.P50 != 2000 || r.Own.P99 != 3000 {
		t.Errorf("own is %+v", r.Own)
	}
	if r.Ratio != 3 || r.RatioMin != 2 || r.RatioMax != 4 {
		t.Errorf("the ratios are %g, %g to %g, want 3, 2 to 4", r.Ratio, r.RatioMin, r.RatioMax)
	}
}

// The error names a cell that fails; the report keeps the other cells.
func TestFailedCell(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "benchmarks.md")
	whole := func(context.Context, *bench) (player, error) {
		return funcPlayer{play: func(context.Context, int) (round, error) {
			return round{own: side{value: 30}, yard: side{value: 10}}, nil
		}}, nil
	}
	torn := func(context.Context, *bench) (player, error) {
		return funcPlayer{play: func(context.Context, int) (round, error) { return round{}, errors.New("a wire is cut") }}, nil
	}
	err := measure(t.Context(), &options{doc: doc, size: size{rounds: 1}}, []cell{
		{name: "first", unit: "/s", open: whole}, {name: "second", unit: "/s", open: torn}, {name: "third", unit: "/s", open: whole},
	})
	if err == nil || !strings.Contains(err.Error(), "second: round 0: a wire is cut") {
		t.Errorf("the error is %v", err)
	}
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| first | /s | 30.0", "| third | /s | 30.0", "it failed: round 0: a wire is cut"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the document has no %q:\n%s", want, text)
		}
	}
}
