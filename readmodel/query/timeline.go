package query

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

const (
	// timelineBudget is how many events one page reads; a page that has read them ends, with a cursor.
	timelineBudget = 50_000
	// The revisions that a page reads at a time, first and at most.
	firstWindow, lastWindow = 1024, 65_536
)

// timeline lists all events of an agent, newest first: its entries, losing writes, lifecycle and
// configuration, and those of the tasks that it held.
func (q *Query) timeline(ctx context.Context, agent string, in *request) (*page, error) {
	from, to, err := in.span.ends()
	if err != nil {
		return nil, err
	}
	t := &timeline{Query: q, agent: agent, in: in, budget: timelineBudget}
	if err := t.open(ctx, from, to); err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	rows, err := t.page(ctx)
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	p := &page{source: tiers.FromJournal, token: tokenAt(q.Rows, t.own.partition, t.own.start), cursor: t.cursor()}
	p.rows = encodeRows("events", 512, rows, func(b []byte, e *timelineEvent) []byte { return append(b, e.body...) })
	return p, nil
}

// timelineEvent is a row: the members of the event as readers see it, without braces.
type timelineEvent struct {
	revision uint64
	at       time.Time
	body     []byte
}

type timeline struct {
	*Query
	agent   string
	in      *request
	own     *timelinePart // the partition of the agent
	parts   []*timelinePart
	budget  int
	stopped bool // the budget is used up
}

// timelinePart is one partition.
type timelinePart struct {
	partition int
	patterns  []events.AggregateName
	start     uint64 // the last revision of the page's range
	below     uint64 // next: what is below this revision
	after     uint64 // nothing up to this revision
	since     time.Time
	until     time.Time
	window    uint64
	rows      []timelineEvent // read, newest first
}

// open reads the cursor, or begins at the end.
func (t *timeline) open(ctx context.Context, from, to *pastPoint) error {
	own := t.Rows.Partition(t.agent)
	for p := range t.Rows.Partitions() {
		head, err := t.Rows.Head(ctx, p)
		if err != nil {
			return err
		}
		part := &timelinePart{partition: p, below: head + 1, window: firstWindow, patterns: []events.AggregateName{"task.>"}}
		if p == own {
			t.own = part
			part.patterns = append(part.patterns, events.AggregateName("agent."+t.agent+".>"))
			if ok, _ := t.in.permission.set.Allows(grants.Action{Kind: grants.Query, Aggregate: "config", ID: t.agent, Verb: "entries"}); ok {
				part.patterns = append(part.patterns, events.Config(t.agent, ">"))
			}
		}
		t.parts = append(t.parts, part)
	}
	if err := t.bound(ctx, from, to); err != nil {
		return err
	}
	if t.in.Cursor != "" {
		texts := strings.Split(t.in.Cursor, ".")
		if len(texts) != len(t.parts) {
			return badCursor(t.in.Cursor)
		}
		for i, text := range texts {
			below, err := strconv.ParseUint(text, 10, 64)
			if err != nil || below == 0 {
				return badCursor(t.in.Cursor)
			}
			t.parts[i].below = min(t.parts[i].below, below)
		}
	}
	for _, part := range t.parts {
		part.start = part.below - 1
	}
	return nil
}

// bound applies from and to. A revision counts in the partition of the agent; elsewhere its time
// is the bound.
func (t *timeline) bound(ctx context.Context, from, to *pastPoint) error {
	for i, b := range []*pastPoint{from, to} {
		if b == nil {
			continue
		}
		at, revision := b.at, b.revision
		if at.IsZero() && i == 0 && revision > 0 {
			t.own.after = revision - 1
		}
		if at.IsZero() && i == 1 {
			if revision+1 > revision {
				t.own.below = min(t.own.below, revision+1)
			}
		}
		if at.IsZero() && len(t.parts) > 1 && revision > 0 {
			rec, err := t.Rows.At(ctx, t.own.partition, revision)
			if err != nil && !errors.Is(err, history.ErrNoEntry) {
				return err
			}
			at = rec.RecordedAt
		}
		for _, part := range t.parts {
			switch {
			case b.beforeAll && i == 1:
				part.below = 1
			case part == t.own && b.at.IsZero():
			case i == 0:
				part.since = at
			default:
				part.until = at
			}
		}
	}
	return nil
}

// cursor is where the next page begins; empty = there is none.
func (t *timeline) cursor() string {
	texts, more := make([]string, len(t.parts)), false
	for i, part := range t.parts {
		below := part.below
		if len(part.rows) > 0 {
			below = part.rows[0].revision + 1
		}
		more = more || below > part.after+1
		texts[i] = strconv.FormatUint(below, 10)
	}
	if !more {
		return ""
	}
	return strings.Join(texts, ".")
}

// page merges the partitions by time.
func (t *timeline) page(ctx context.Context) (rows []timelineEvent, err error) {
	var room readmodel.PageRoom
	for {
		var next *timelinePart
		for _, part := range t.parts {
			for len(part.rows) == 0 && part.below > part.after+1 && !t.stopped {
				if err := t.read(ctx, part); err != nil {
					return nil, err
				}
			}
			if len(part.rows) > 0 && (next == nil || part.rows[0].at.After(next.rows[0].at)) {
				next = part
			}
		}
		if next == nil || t.stopped || len(rows) == t.in.limit || room.Add(len(next.rows[0].body)) {
			return rows, nil
		}
		rows, next.rows = append(rows, next.rows[0]), next.rows[1:]
	}
}

// read reads the window below what a partition has read, and keeps the newest rows of it.
func (t *timeline) read(ctx context.Context, part *timelinePart) error {
	upTo := part.below - 1
	after := max(part.after, upTo-min(upTo, part.window))
	var rows []timelineEvent
	size, floor, past := 0, uint64(0), false
	err := t.Rows.Matching(ctx, part.partition, part.patterns, after, upTo, func(m history.Message) error {
		if t.budget--; m.Revision <= floor || !t.shows(&m) {
			return nil
		}
		past = past || !part.since.IsZero() && m.RecordedAt.Before(part.since.Add(-history.DefaultSkew))
		if !part.since.IsZero() && m.RecordedAt.Before(part.since) || !part.until.IsZero() && m.RecordedAt.After(part.until) {
			return nil
		}
		rows = append(rows, timelineRow(&m))
		if size += len(rows[len(rows)-1].body); len(rows) > 2*t.in.limit+2 || size > 4*readmodel.PageBytes {
			rows, floor = newestRows(rows, t.in.limit+1)
			size = 0
			for i := range rows {
				size += len(rows[i].body)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	part.rows, part.below = rows, after+1
	if rows, more := newestRows(rows, t.in.limit+1); more > 0 || floor > 0 {
		part.rows, part.below = rows, rows[len(rows)-1].revision
	} else {
		part.rows = rows
		if part.window = min(4*part.window, lastWindow); past {
			part.below = part.after + 1
		}
	}
	t.stopped = t.budget <= 0 && len(part.rows) == 0
	return nil
}

// newestRows are the newest rows, newest first, at most limit and about a page; floor is the
// revision of the oldest of them where others are left out, else 0.
func newestRows(rows []timelineEvent, limit int) (_ []timelineEvent, floor uint64) {
	slices.SortFunc(rows, func(a, b timelineEvent) int {
		if a.revision < b.revision {
			return 1
		}
		return -1
	})
	var room readmodel.PageRoom
	for i := range rows {
		if i == limit || room.Add(len(rows[i].body)) {
			return rows[:i:i], rows[i-1].revision
		}
	}
	return rows, 0
}

// shows reports whether an event is one of the agent's that the sender may see.
func (t *timeline) shows(m *history.Message) bool {
	if !strings.HasPrefix(string(m.Name), "task.") {
		return true
	}
	if m.Bad != nil {
		return false
	}
	var held struct {
		AgentID string `json:"agent_id"`
	}
	_ = json.Unmarshal(m.State, &held) // tasks carry an object
	if held.AgentID != t.agent {
		held.AgentID = ""
		_ = json.Unmarshal(m.Data, &held) // the event that takes it from the agent names it
	}
	if held.AgentID != t.agent {
		return false
	}
	set := t.in.permission.set
	verdict, _ := set.Decide(grants.Action{Kind: grants.Query, Aggregate: "task", ID: m.ID, Verb: "get"})
	return verdict == grants.Yes || verdict == grants.IfHolder && set.Holds(t.agent)
}

// timelineRow is the event as readers see it, with its position.
func timelineRow(m *history.Message) timelineEvent {
	b := strconv.AppendUint([]byte(`"revision":`), m.Revision, 10)
	b = strconv.AppendInt(append(b, `,"partition":`...), int64(m.Partition), 10)
	b = append(b, ',')
	if m.Bad != nil {
		b = events.AppendString(b, "unreadable", string(m.Name))
	} else {
		body, _ := m.Published()
		b = append(b, body[1:len(body)-1]...)
	}
	return timelineEvent{revision: m.Revision, at: m.RecordedAt, body: b}
}
