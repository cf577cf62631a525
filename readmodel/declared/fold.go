// Package declared folds rows of the built-in read models into the rows of declared views.
// It is pure: where the rows are stored belongs to an adapter.
package declared

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Version of the fold of a source. Raise it when it makes other rows of the same definition
// and events: the next start then builds the views of the source beside their old rows.
func Version(from string) int {
	if from == view.FromMessage { // builds of version 1 read no messages, and must not move such a view on
		return 2
	}
	return 1
}

// Fold makes the rows of one view.
type Fold struct {
	view.Definition
	kind  string     // of the rows that it reads
	paths [][]string // by column
	whole bool       // some column needs more of an entry than its value
	by    []bool     // by column: it is one of those that make a group
}

// Change is what becomes of one row: its values in the order of the columns of the
// definition, or its end.
type Change struct {
	Key    string
	Gone   bool
	Values []*string // as SQL reads them; nil = null
}

// kinds are the kinds of rows by source.
var kinds = map[string]string{
	view.FromState: readmodel.KindEntry, view.FromTask: readmodel.KindTask, view.FromSession: readmodel.KindSession,
	view.FromConfig: readmodel.KindConfig, view.FromReminder: readmodel.KindReminder, view.FromClaim: readmodel.KindClaim,
}

// New returns the fold of a definition.
func New(d view.Definition) *Fold {
	f := &Fold{Definition: d, kind: kinds[d.From], by: make([]bool, len(d.Columns))}
	for i, c := range d.Columns {
		var path []string
		for token := range jsontext.Pointer(c.Path).Tokens() {
			path = append(path, token)
		}
		f.paths = append(f.paths, path)
		f.whole = f.whole || len(path) == 0 || path[0] != "value"
		f.by[i] = d.Group != nil && slices.Contains(d.Group.By, c.Name)
	}
	return f
}

// Covers reports whether events of an aggregate may change rows of the view.
func (f *Fold) Covers(name events.AggregateName) bool {
	if f.Messages() {
		id := name.ID()
		return view.Definition{Agents: f.Agents}.Matches(id, "") && (name == events.Sent(id) || name == events.Lifecycle(id))
	}
	kind, id, key := readmodel.RowOf(name)
	if kind == "" || kind != f.kind {
		return false
	}
	if f.keyed() {
		return f.Matches(id, key)
	}
	return f.Keys == "" || view.Definition{Keys: f.Keys}.Matches("", id)
}

// keyed reports whether the rows are those of an agent under a key.
func (f *Fold) keyed() bool { return f.kind == readmodel.KindEntry || f.kind == readmodel.KindConfig }

// KeyOf is the key of the row that an aggregate's events are folded into.
func KeyOf(name events.AggregateName) string {
	kind, id, key := readmodel.RowOf(name)
	if kind == readmodel.KindEntry || kind == readmodel.KindConfig {
		return id + "." + key
	}
	return id
}

// Entry folds the row of a state entry.
func (f *Fold) Entry(c *readmodel.EntryChange) Change {
	change := Change{Key: c.Agent + "." + c.Key, Gone: c.Deleted}
	if c.Deleted {
		return change
	}
	if !f.whole {
		change.Values = f.values(c.Value, 1)
		return change
	}
	row := c.Entry.Append(append(make([]byte, 0, 288+len(c.Value)), '{'))
	change.Values = f.values(append(row, '}'), 0)
	return change
}

// Doc folds the row of a document. A row whose agent the view does not cover is gone.
func (f *Fold) Doc(c *readmodel.DocChange) Change {
	change := Change{Key: c.ID, Gone: c.Deleted}
	if f.keyed() {
		change.Key += "." + c.Key
	}
	if c.Deleted {
		return change
	}
	row := append(c.Doc.Append(append(make([]byte, 0, 288+len(c.State)), '{')), '}')
	if !f.keyed() && f.Agents != "" && !f.Matches(agentOf(f.kind, row), c.ID) {
		change.Gone = true
		return change
	}
	change.Values = f.values(row, 0)
	return change
}

// agents are the members that name the agent of a row, by kind.
var agents = map[string]string{
	readmodel.KindTask: "agent_id", readmodel.KindReminder: "agent_id", readmodel.KindSession: "owner", readmodel.KindClaim: "owner",
}

// agentOf is the agent that a row belongs to; empty = none.
func agentOf(kind string, row []byte) string {
	v, ok := find(row, []string{agents[kind]})
	if !ok || v.Kind() != '"' {
		return ""
	}
	name, _ := jsontext.AppendUnquote(nil, v)
	return string(name)
}

// values are those of all columns in a document; the first skip tokens of their paths lead
// to it.
func (f *Fold) values(doc []byte, skip int) []*string {
	all := make([]*string, len(f.Columns))
	for i := range f.Columns {
		if v, ok := find(doc, f.paths[i][skip:]); ok {
			all[i] = Value(f.Columns[i].Type, v, f.by[i])
		}
	}
	return all
}

// GroupOf is the key of the group that a row belongs to.
func (f *Fold) GroupOf(c *Change) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, name := range f.Group.By {
		if i > 0 {
			b.WriteByte(',')
		}
		at := f.index(name)
		b.WriteString(canonical(f.Columns[at].Type, c.Values[at]))
	}
	b.WriteByte(']')
	return groupKey(b.String())
}

// Named returns the value of a column.
func (f *Fold) Named(c *Change, name string) *string { return c.Values[f.index(name)] }

func (f *Fold) index(name string) int {
	return slices.IndexFunc(f.Columns, func(c view.Column) bool { return c.Name == name })
}
