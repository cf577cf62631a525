package top

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/dustin/go-humanize"
)

// styles colour the parts of the page; the zero styles colour nothing.
type styles struct{ head, good, bad, faint lipgloss.Style }

func coloured() styles {
	return styles{
		head: lipgloss.NewStyle().Bold(true), faint: lipgloss.NewStyle().Faint(true),
		good: lipgloss.NewStyle().Foreground(lipgloss.Green), bad: lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true),
	}
}

// Render is the snapshot as plain text. escape makes harmless what clients have chosen.
func (s *Snapshot) Render(escape func(string) string) string { return s.render(styles{}, escape) }

func (s *Snapshot) render(c styles, escape func(string) string) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%s %s\n", c.head.Render(fmt.Sprintf("%-12s", name)), fmt.Sprintf(format, args...))
	}
	state := c.good.Render("ready")
	if !s.Ready {
		state = c.bad.Render("NOT READY")
	}
	fmt.Fprintf(&b, "%s  up %s  %s  NATS %s  Postgres %s\n", c.head.Render("Tidemark "+escape(s.Version)),
		time.Duration(s.Uptime)*time.Second, state, escape(s.NATS), escape(s.Postgres))
	for _, reason := range s.Reasons {
		fmt.Fprintln(&b, "  "+c.bad.Render(escape(reason)))
	}
	b.WriteByte('\n')
	if s.Missing != "" {
		fmt.Fprintln(&b, c.faint.Render(escape(s.Missing)))
	}
	if r := s.Rates; r != nil {
		line("commands", "%.1f/s  p50 %s  p99 %s  in flight %d", r.Commands, took(r.P50), took(r.P99), s.InFlight)
		line("queries", "%.1f/s  errors %.1f/s  appends %.1f/s", r.Queries, r.Errors, r.Appends)
		line("tiers", "%s", tiers(r.Tiers, escape))
	} else {
		line("commands", "in flight %d", s.InFlight)
	}
	if n := s.Counts; n != nil {
		stuck := "?"
		if n.Stuck != nil {
			stuck = fmt.Sprintf("%.0f", *n.Stuck)
		}
		line("tasks", "claimable %.0f  requests that wait %.0f  stuck %s", n.Claimable, n.Polls, stuck)
		line("enqueued", "%.0f  oldest %s", n.Enqueued, time.Duration(n.Oldest*float64(time.Second)).Round(time.Second))
		line("dead letters", "%s", letters(n.DeadLetters, escape))
		line("journal", "%s", bytesOf(uint64(n.Journal), uint64(n.Limit)))
	}
	line("storage", "%s", bytesOf(s.Storage.Used, s.Storage.Limit))
	fmt.Fprintf(&b, "\n%s\n", c.head.Render(fmt.Sprintf("%-24s %4s %10s %8s  %s", "view", "part", "lag", "lag s", "state")))
	for _, v := range s.Views {
		state := escape(v.State)
		if v.State != "running" && v.State != "standby" && v.State != "rebuilding" {
			state = c.bad.Render(state)
		}
		fmt.Fprintln(&b, strings.TrimSuffix(fmt.Sprintf("%-24s %4d %10d %8.1f  %s %s", escape(v.Name), v.Partition, v.LagEvents, v.LagSeconds, state, escape(v.Reason)), " "))
	}
	return b.String()
}

func took(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return "≤" + time.Duration(*seconds*float64(time.Second)).Round(10*time.Microsecond).String()
}

func tiers(hits map[string]float64, escape func(string) string) string {
	var parts []string
	for _, tier := range slices.Sorted(maps.Keys(hits)) {
		parts = append(parts, fmt.Sprintf("%s %.1f/s", escape(tier), hits[tier]))
	}
	if len(parts) == 0 {
		return "no reads"
	}
	return strings.Join(parts, "  ")
}

func letters(all map[string]float64, escape func(string) string) string {
	var parts []string
	for _, source := range slices.Sorted(maps.Keys(all)) {
		if all[source] > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f", escape(source), all[source]))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "  ")
}

func bytesOf(used, limit uint64) string {
	if limit == 0 {
		return humanize.IBytes(used) + " used, without a known limit"
	}
	return fmt.Sprintf("%s of %s used (%.0f %%)", humanize.IBytes(used), humanize.IBytes(limit), 100*float64(used)/float64(limit))
}
