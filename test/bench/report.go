package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// report is the result of a run.
type report struct {
	Command string   `json:"command"`
	Date    string   `json:"date"`
	Took    string   `json:"took"`
	Machine string   `json:"machine"`
	Busy    float64  `json:"busy"` // mean share of the CPU in use just before each cell, 0 to 1
	Cells   []result `json:"cells"`
	Curves  []curve  `json:"curves,omitempty"`
}

// columns of the table; the first two and the note are text.
var columns = []string{"cell", "unit", "median", "min", "max", "p50 µs", "p99 µs", "yardstick", "ratio", "(min–max)", "target", "met"}

func (r *result) row() []string {
	target, met := r.verdict()
	if r.Missing != "" {
		return []string{r.Name, r.Unit, "–", "–", "–", "–", "–", "–", "–", "–", target, met}
	}
	return []string{
		r.Name, r.Unit, number(r.Own.Median), number(r.Own.Min), number(r.Own.Max), number(r.Own.P50), number(r.Own.P99),
		number(r.Yard.Median), number(r.Ratio), number(r.RatioMin) + "–" + number(r.RatioMax), target, met,
	}
}

// text formats the table for a terminal.
func (r *report) text() string {
	rows := [][]string{columns}
	for i := range r.Cells {
		rows = append(rows, r.Cells[i].row())
	}
	width := make([]int, len(columns))
	for _, row := range rows {
		for i, field := range row {
			width[i] = max(width[i], len([]rune(strings.Trim(field, "*"))))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, field := range row {
			field = strings.Trim(field, "*")
			pad := strings.Repeat(" ", width[i]-len([]rune(field)))
			if i < 2 {
				b.WriteString(field + pad + "  ")
			} else {
				b.WriteString(pad + field + "  ")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// print prints the table, or the report as JSON.
func (r *report) print(asJSON bool) error {
	if !asJSON {
		_, err := fmt.Print(r.text())
		return err
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// write writes the document and its plots.
func (r *report) write(file string) error {
	dir := filepath.Join(filepath.Dir(file), "benchmarks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range r.Curves {
		if err := os.WriteFile(filepath.Join(dir, c.Name+".svg"), c.svg(), 0o644); err != nil {
			return err
		}
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := r.markdown()
	if _, hand, ok := strings.Cut(string(old), byHand); ok {
		text += byHand + hand
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// byHand starts the hand-written part of the document, which a run keeps.
const byHand = "\n## Notes\n"

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(`# Benchmarks

Measured by ` + "`" + r.Command + "`" + ` on ` + r.Date + ` in ` + r.Took + ` on ` + r.Machine + `.
Just before each cell the machine was ` + strconv.Itoa(int(r.Busy*100+0.5)) + ` % busy (mean).
**Only the ratio to the yardstick is meaningful on other machines.**

`)
	b.WriteString("| " + strings.Join(columns, " | ") + " |\n|---|---|" + strings.Repeat("---:|", len(columns)-2) + "\n")
	for i := range r.Cells {
		b.WriteString("| " + strings.Join(r.Cells[i].row(), " | ") + " |\n")
	}
	b.WriteString(`
The run alternates each cell with its yardstick on the same servers, with the same 256-byte value and the same
durability. A yardstick is a raw client (nats.go, pgx) that does the least work that could serve. Load, yardstick and
engine share the machine. The first round warms up and does not count. The ratio is the median of the rounds' own
ratios, followed by the minimum and the maximum. p50 and p99 are of single operations.

## Cells

| cell | measures | yardstick | observed |
|---|---|---|---|
`)
	for _, c := range r.Cells {
		seen := c.Note
		if c.Missing != "" {
			seen = "not available: " + c.Missing
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.Name, c.What, c.Yardstick, seen)
	}
	if len(r.Curves) > 0 {
		b.WriteString("\n## Plots\n\n")
	}
	for _, c := range r.Curves {
		fmt.Fprintf(&b, "![%s](benchmarks/%s.svg)\n", c.Title, c.Name)
	}
	return b.String()
}
