package topology

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// limit converts "no limit" from 0 to the server's -1.
func limit[N int | int32 | int64](v N) N {
	if v == 0 {
		return -1
	}
	return v
}

// size formats a number of bytes exactly, in the largest unit that divides it.
func size(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d %s", n/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

// sizeLimit is size for a limit; 0 is unlimited.
func sizeLimit[N int | int32 | int64](n N) string { return size(int64(limit(n))) }

func count[N int | int64](n N) string {
	if n <= 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func age(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return d.String()
}

func discardText(d jetstream.DiscardPolicy) string {
	return strings.ToLower(strings.TrimPrefix(d.String(), "Discard"))
}

func startTimeText(c *consumerConfig) string {
	if c.OptStartTime == nil {
		return "none"
	}
	return c.OptStartTime.UTC().Format(time.RFC3339Nano)
}

func republishText(r *jetstream.RePublish) string {
	if r == nil {
		return "none"
	}
	return r.Source + " to " + r.Destination
}

func placementText(p *jetstream.Placement) string {
	if p == nil {
		return "none"
	}
	text := p.Cluster
	if text == "" {
		text = "any cluster"
	}
	if len(p.Tags) > 0 {
		text += " [" + list(p.Tags) + "]"
	}
	return text
}

func lower[V fmt.Stringer](v V) string { return strings.ToLower(v.String()) }

func list(all []string) string { return strings.Join(all, ", ") }

// signs mark actions, with their terminal colours.
var signs = map[Action]struct{ sign, colour string }{
	Create: {"+", "\x1b[32m"}, Update: {"~", "\x1b[33m"}, Unchanged: {"=", ""}, Refuse: {"!", "\x1b[31m"},
}

var levels = map[Level]struct{ sign, colour string }{OK: {"=", ""}, Warn: {"~", "\x1b[33m"}, Refused: {"!", "\x1b[31m"}}

// Text formats the plan for a terminal.
func (p *Plan) Text(colours bool) string { return p.text(colours, true) }

// Short is Text without what is as it should be.
func (p *Plan) Short(colours bool) string { return p.text(colours, false) }

func (p *Plan) text(colours, all bool) string {
	var b strings.Builder
	paint := func(colour, text string) string {
		if !colours || colour == "" {
			return text
		}
		return colour + text + "\x1b[0m"
	}
	title := func(text string) {
		if all {
			b.WriteString(text)
		}
	}
	title("Server\n")
	for _, c := range p.Checks {
		if c.Level == OK && !all {
			continue
		}
		l := levels[c.Level]
		fmt.Fprintf(&b, "  %s %s: %s\n", paint(l.colour, l.sign), c.Name, c.Text)
	}
	title("Topology\n")
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Action == Unchanged && !all {
			continue
		}
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

// line formats a mapping without its reason.
func (m *Mapping) line() string {
	switch {
	case m.InForce == m.Written:
		return m.Field + " " + m.Written + ", as written"
	case m.Written == "":
		return m.Field + " not written => " + m.InForce
	}
	return m.Field + " " + m.Written + " => " + m.InForce
}

// text writes a step's reason, changes and mappings.
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
