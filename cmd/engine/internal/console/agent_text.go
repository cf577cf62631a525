package console

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"
)

func tabURL(id, tab string) templ.SafeURL {
	q := url.Values{}
	if tab != "" {
		q.Set("tab", tab)
	}
	return pathTo("/agents/"+url.PathEscape(id), q)
}

// parameters are those of the URL, but for some.
func (r *request) parameters(without ...string) []field {
	q := r.URL.Query()
	for _, name := range without {
		q.Del(name)
	}
	return fields(q)
}

// subject is a subject with the engine's prefix.
func (c *Console) subject(s string) string {
	if c.cfg.Prefix == "" {
		return s
	}
	return c.cfg.Prefix + "." + s
}

func shownRevision(d *agentData) uint64 {
	if d.point.revision > 0 {
		return min(max(d.point.revision, d.first), d.last)
	}
	return d.last
}

// localTime is the point as an input of the type datetime-local takes it.
func localTime(p point) string {
	if t, err := time.Parse(time.RFC3339Nano, p.at); err == nil {
		return t.UTC().Format("2006-01-02T15:04:05.000")
	}
	return ""
}

func versionOf(e *entry) string {
	if e == nil {
		return ""
	}
	return text(e.Version)
}

// byNames says who wrote something.
func byNames(writer, actor string) string {
	names := slices.DeleteFunc([]string{writer, actor}, func(s string) bool { return s == "" })
	if len(names) == 0 {
		return "by an unnamed writer"
	}
	return "by " + strings.Join(names, ", as ")
}

func by(e *event) string { return byNames(e.Writer, e.Actor) }

// changes counts the rows that differ.
func changes(rows []comparison) string {
	n := map[string]int{}
	for i := range rows {
		n[rows[i].kind()]++
	}
	return fmt.Sprintf("%d added since, %d changed, %d removed, %d the same", n["added"], n["changed"], n["removed"], n[""])
}

func changeTone(kind string) string {
	return map[string]string{"added": "good", "removed": "bad", "changed": "warn"}[kind]
}

func opTone(op string) string {
	switch {
	case strings.HasPrefix(op, "+"):
		return "plus"
	case strings.HasPrefix(op, "−"):
		return "minus"
	}
	return ""
}
