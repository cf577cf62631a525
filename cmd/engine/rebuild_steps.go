package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

// steps shows how far a rebuild is: JSON lines for machines, a line that is
// rewritten on a terminal, else nothing.
type steps struct {
	json     io.Writer // nil = not asked for
	terminal io.Writer // nil = none
	last     time.Time
	name     string
}

func newSteps(out io.Writer, asJSON bool) *steps {
	s := &steps{}
	switch {
	case asJSON:
		s.json = out
	case isTerminal(os.Stderr):
		s.terminal = os.Stderr
	}
	return s
}

// stepEvery bounds how often progress inside a step is shown.
const stepEvery = 200 * time.Millisecond

func (s *steps) step(p rebuild.Step) {
	now := time.Now()
	if s.json == nil && s.terminal == nil || p.Name == s.name && now.Sub(s.last) < stepEvery && p.Events < p.Of {
		return
	}
	s.name, s.last = p.Name, now
	if s.json != nil {
		_ = writeJSON(s.json, p) // the report's own write will fail too
		return
	}
	fmt.Fprintf(s.terminal, "\r\033[K%s", stepLine(p))
}

// barWidth is how many characters a full bar has.
const barWidth = 24

func stepLine(p rebuild.Step) string {
	if p.Of == 0 || p.Events == 0 {
		return p.Name + " …"
	}
	full := min(int(p.Events*barWidth/p.Of), barWidth)
	left := time.Duration(float64(p.Of-min(p.Events, p.Of)) / max(p.Rate, 1) * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s [%s%s] %s / %s events, %s/s, %s left", p.Name, strings.Repeat("█", full), strings.Repeat("·", barWidth-full),
		grouped(int(p.Events)), grouped(int(p.Of)), grouped(int(p.Rate)), left)
}

// end wipes the line.
func (s *steps) end() {
	if s.terminal != nil {
		fmt.Fprint(s.terminal, "\r\033[K")
	}
}

func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
