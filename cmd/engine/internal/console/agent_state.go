package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/wI2L/jsondiff"

	"github.com/tidemark-engine/tidemark/client"
)

// stateData is the tab with the entries of an agent.
type stateData struct {
	now, then []entry
	rows      []comparison
	cursor    string
	cause     *event // at the revision that is shown
	back      uint64 // revision of the event of the agent before the point; 0 = there is none
	forward   uint64 // after the point; 0 = there is none
	key       *keyData
}

// comparison is a key then and now.
type comparison struct {
	key       string
	then, now *entry // nil = there was none, there is none
	ops       []string
	caused    bool // by the event at the revision that is shown
}

// kind of the change: added, removed, changed, or "" for none.
func (c *comparison) kind() string {
	switch {
	case c.then == nil:
		return "added"
	case c.now == nil:
		return "removed"
	case c.then.Revision != c.now.Revision:
		return "changed"
	}
	return ""
}

type entriesPage struct {
	Entries []entry `json:"entries"`
	Cursor  string  `json:"cursor"`
}

func (r *request) entries(id string, p point) (page entriesPage, err error) {
	err = r.ask("agent."+id+".entries", p.into(r.filters("prefix", "cursor")), &page)
	return page, err
}

func (r *request) stateTab(d *agentData) (templ.Component, error) {
	var s stateData
	if key := r.query("key"); key != "" {
		s.key = r.keyOf(d.id, key)
	}
	page, err := r.entries(d.id, point{})
	if err != nil {
		return nil, err
	}
	s.now, s.cursor = page.Entries, page.Cursor
	if d.first > 0 {
		d.last = max(r.lastEvent(d, d.head), d.first, min(d.point.revision, d.head))
		for _, e := range s.now { // also where the timeline did not answer
			d.last = max(d.last, e.Revision)
		}
	}
	if !d.point.past() || d.point.problem != "" {
		s.back = d.last
		return stateTab(r, d, &s), nil
	}
	then, err := r.entries(d.id, d.point)
	if err != nil {
		return nil, err
	}
	s.then = then.Entries
	s.rows, s.cursor = compare(then, page)
	if d.point.revision > 0 {
		r.around(d, &s)
	}
	return stateTab(r, d, &s), nil
}

// compare joins two pages of entries in the order of their keys. Where a page ends, the other
// one is compared up to the same key.
func compare(then, now entriesPage) (rows []comparison, cursor string) {
	for _, c := range [...]string{then.Cursor, now.Cursor} {
		if c != "" && (cursor == "" || c < cursor) {
			cursor = c
		}
	}
	at := map[string]int{}
	add := func(page []entry, set func(c *comparison, e *entry)) {
		for i := range page {
			e := &page[i]
			if cursor != "" && e.Key > cursor {
				return
			}
			if _, known := at[e.Key]; !known {
				at[e.Key] = len(rows)
				rows = append(rows, comparison{key: e.Key})
			}
			set(&rows[at[e.Key]], e)
		}
	}
	add(then.Entries, func(c *comparison, e *entry) { c.then = e })
	add(now.Entries, func(c *comparison, e *entry) { c.now = e })
	slices.SortFunc(rows, func(a, b comparison) int { return strings.Compare(a.key, b.key) })
	for i := range rows {
		rows[i].ops = operations(rows[i].then, rows[i].now)
	}
	return rows, cursor
}

// maxOperations bounds the lines of a difference.
const maxOperations = 12

// operations are the differences of two values, one line each.
func operations(then, now *entry) (lines []string) {
	if then == nil || now == nil || then.Erased || now.Erased || then.Revision == now.Revision {
		return nil
	}
	patch, err := jsondiff.CompareJSON(then.Value, now.Value, jsondiff.UnmarshalFunc(exactly))
	if err != nil {
		return nil
	}
	for _, op := range patch {
		if len(lines) == maxOperations {
			return append(lines, "…")
		}
		sign := map[string]string{jsondiff.OperationAdd: "+", jsondiff.OperationRemove: "−"}[op.Type]
		if sign == "" {
			sign = "~"
		}
		line := sign + " " + op.Path
		if op.Path == "" {
			line = sign + " the value"
		}
		if op.Type != jsondiff.OperationRemove {
			line += " " + cut(encoded(op.Value), 120)
		}
		lines = append(lines, line)
	}
	return lines
}

// exactly decodes JSON and keeps every digit of its numbers.
func exactly(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(v)
}

// cut shortens a text at a rune.
func cut(s string, most int) string {
	for i := range s {
		if i >= most {
			return s[:i] + "…"
		}
	}
	return s
}

// around finds the event at the revision that is shown and its neighbours.
func (r *request) around(d *agentData, s *stateData) {
	var at struct {
		Events []event `json:"events"`
	}
	body := map[string]any{"from": d.point.revision, "to": d.point.revision, "limit": 1}
	if r.ask("agent."+d.id+".timeline", body, &at) == nil && len(at.Events) > 0 {
		s.cause = &at.Events[0]
		for i := range s.rows {
			s.rows[i].caused = s.cause.Aggregate == "agent" && s.cause.Key == s.rows[i].key
		}
	}
	s.back = r.lastEvent(d, d.point.revision-1)
	var next struct {
		Events []event `json:"events"`
	}
	body = map[string]any{"subject": "agent." + d.id + ".>", "from": d.point.revision + 1, "limit": 1, "wait_ms": 0}
	if d.point.revision < d.head && r.ask("events.read", body, &next) == nil && len(next.Events) > 0 {
		s.forward = next.Events[0].Revision
	}
}

// lastEvent is the revision of the last event of an agent up to a revision; 0 = none was found.
// The timeline has the events of its tasks too: it is asked for more of them as they come.
func (r *request) lastEvent(d *agentData, upTo uint64) uint64 {
	if upTo == 0 {
		return 0
	}
	body := map[string]any{"to": upTo}
	for _, limit := range [...]int{4, 50, 500} {
		body["limit"] = limit
		var page timelinePage
		if r.ask("agent."+d.id+".timeline", body, &page) != nil {
			return 0
		}
		for _, e := range page.Events {
			if e.Aggregate == "agent" && e.Partition == d.partition {
				return e.Revision
			}
		}
		if page.Cursor == "" {
			return 0
		}
		body["cursor"] = page.Cursor
	}
	return 0
}

// keyData is one entry with its history.
type keyData struct {
	key      string
	current  *entry // nil = it does not exist
	versions []version
	cursor   string
	err      error
}

// version is a version of an entry, or a write that lost.
type version struct {
	Value      json.RawMessage `json:"value"`
	Version    uint64          `json:"version"`
	Revision   uint64          `json:"revision"`
	Kind       string          `json:"kind"`
	Reason     string          `json:"reason"`
	Writer     string          `json:"writer"`
	Actor      string          `json:"actor"`
	RecordedAt time.Time       `json:"recorded_at"`
	Erased     bool            `json:"erased"`
}

// lost reports whether the write did not take effect.
func (v *version) lost() bool { return v.Kind == "superseded" || v.Kind == "rejected" }

// versionsShown is the number of versions on a page.
const versionsShown = 20

func (r *request) keyOf(agent, key string) *keyData {
	k := &keyData{key: key}
	var current entry
	switch err := r.ask("agent."+agent+".get", map[string]any{"key": key}, &current); {
	case err == nil:
		k.current = &current
	case !errors.Is(err, client.ErrNotFound):
		k.err = err
		return k
	}
	body := map[string]any{"key": key, "losers": true, "limit": versionsShown}
	if c := r.query("before"); c != "" {
		body["cursor"] = c
	}
	var answer struct {
		Versions []version `json:"versions"`
		Cursor   string    `json:"cursor"`
	}
	if k.err = r.ask("agent."+agent+".history", body, &answer); errors.Is(k.err, client.ErrNotFound) {
		k.err = nil
	}
	k.versions, k.cursor = answer.Versions, answer.Cursor
	return k
}
