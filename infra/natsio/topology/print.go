package topology

import (
	"fmt"
	"strings"
)

// signs mark what a step does, with their colours on a terminal.
var signs = map[Action]struct{ sign, colour string }{
	Create: {"+", "\x1b[32m"}, Update: {"~", "\x1b[33m"}, Unchanged: {"=", ""}, Refuse: {"!", "\x1b[31m"},
}

var levels = map[Level]struct{ sign, colour string }{OK: {"=", ""}, Warn: {"~", "\x1b[33m"}, Refused: {"!", "\x1b[31m"}}

// Text is the plan as people read it.
func (p *Plan) Text(colours bool) string {
	var b strings.Builder
	paint := func(colour, text string) string {
		if !colours || colour == "" {
			return text
		}
		return colour + text + "\x1b[0m"
	}
	b.WriteString("Server\n")
	for _, c := range p.Checks {
		l := levels[c.Level]
		fmt.Fprintf(&b, "  %s %s: %s\n", paint(l.colour, l.sign), c.Name, c.Text)
	}
	b.WriteString("Topology\n")
	for i := range p.Steps {
		s := &p.Steps[i]
		a := signs[s.Action]
		fmt.Fprintf(&b, "  %s %s\n", paint(a.colour, a.sign), paint(a.colour, string(s.Kind)+" "+s.Name))
		s.text(&b)
	}
	fmt.Fprintf(&b, "%d to create, %d to change, %d unchanged, %d refused\n",
		p.Count(Create), p.Count(Update), p.Count(Unchanged), p.Count(Refuse))
	if c := p.Stopped(); c != nil {
		fmt.Fprintf(&b, "Nothing can be applied: %s: %s\n", c.Name, c.Text)
	}
	return b.String()
}

// line is a mapping without its reason.
func (m *Mapping) line() string {
	switch {
	case m.InForce == m.Written:
		return m.Field + " " + m.Written + ", as written"
	case m.Written == "":
		return m.Field + " not written => " + m.InForce
	}
	return m.Field + " " + m.Written + " => " + m.InForce
}

// text is what a step changes and what the file's fields have become.
func (s *Step) text(b *strings.Builder) {
	if s.Reason != "" {
		fmt.Fprintf(b, "      refused: %s\n", s.Reason)
	}
	for _, c := range s.Diff {
		fmt.Fprintf(b, "      %s: %s -> %s", c.Field, c.From, c.To)
		if c.Refused != "" {
			fmt.Fprintf(b, " (refused: %s)", c.Refused)
		}
		b.WriteByte('\n')
	}
	for _, m := range s.Mappings {
		fmt.Fprintf(b, "      %s\n        %s\n", m.line(), m.Reason)
	}
}
