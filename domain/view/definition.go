// Package view reads and checks the definitions of declared views, and decides commands on
// them. It does not run a view: that is the projections' job.
package view

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/wildcard"
)

// Definition says which rows a view has. It is normal: equal definitions, however they were
// written, are equal values, with equal Canonical bytes.
type Definition struct {
	Name    string
	From    string   // one of the sources: FromState, …
	Agents  string   // pattern of the agents that the rows belong to, of messages the senders; empty = all, and rows without one
	Keys    string   // pattern of the keys, or of the ids where rows have no key; empty = all
	Columns []Column // ordered by name
	Group   *Group   // nil = one row for each entry
	Into    []string // SQL, KV, in this order; at least one
}

// Column is a value that is taken from each row.
type Column struct {
	Name string
	Path string // JSON pointer into the row as its own query answers it; empty = all of it
	Type string // one of the types: Text, …
}

// Group makes one row of all that have equal values in some columns.
type Group struct {
	By    []string `json:"by,omitempty"`    // columns, in the order of the definition; empty = one row of all
	Count bool     `json:"count,omitempty"` // has a column "count"
	Sum   []string `json:"sum,omitempty"`   // numeric columns, in the order of the definition; each has a column SumPrefix + name
}

// Sources of a view.
const (
	FromState    = "state"
	FromTask     = "task"
	FromSession  = "session"
	FromConfig   = "config"
	FromMessage  = "message"
	FromReminder = "reminder"
	FromClaim    = "claim"
)

// Types of a column. A value of another type is null.
const (
	Text        = "text"
	Numeric     = "numeric"
	Boolean     = "boolean"
	Timestamptz = "timestamptz"
	JSONB       = "jsonb"
)

// Where a view is written to.
const (
	SQL = "sql"
	KV  = "kv"
)

// Names that a view gives to what it stores.
const (
	TablePrefix  = "view_" // of a table in the schema agents
	BucketPrefix = "VIEW_"
	KeyColumn    = "key"
	CountColumn  = "count"
	SumPrefix    = "sum_"
)

var (
	sources = []string{FromState, FromTask, FromSession, FromConfig, FromMessage, FromReminder, FromClaim}
	types   = []string{Text, Numeric, Boolean, Timestamptz, JSONB}
	targets = []string{SQL, KV}
)

// wire is a definition as a command's body and an event have it.
type wire struct {
	Name    string                `json:"name"`
	From    string                `json:"from"`
	Agents  string                `json:"agents,omitempty"`
	Keys    string                `json:"keys,omitempty"`
	Columns map[string]wireColumn `json:"columns,omitempty"`
	Group   *Group                `json:"group,omitempty"`
	Into    []string              `json:"into"`
}

type wireColumn struct {
	Path string `json:"path"`
	Type string `json:"type"`
}

// MarshalJSON encodes the definition as a command's body has it.
func (d Definition) MarshalJSON() ([]byte, error) {
	w := wire{Name: d.Name, From: d.From, Agents: d.Agents, Keys: d.Keys, Group: d.Group, Into: d.Into}
	if len(d.Columns) > 0 {
		w.Columns = make(map[string]wireColumn, len(d.Columns))
	}
	for _, c := range d.Columns {
		w.Columns[c.Name] = wireColumn{c.Path, c.Type}
	}
	return domain.Encode(w)
}

// UnmarshalJSON decodes what MarshalJSON encodes. It checks nothing: Parse does.
func (d *Definition) UnmarshalJSON(text []byte) error {
	var w wire
	if err := json.Unmarshal(text, &w); err != nil {
		return err
	}
	*d = Definition{Name: w.Name, From: w.From, Agents: w.Agents, Keys: w.Keys, Group: w.Group, Into: w.Into}
	for _, name := range slices.Sorted(maps.Keys(w.Columns)) {
		d.Columns = append(d.Columns, Column{name, w.Columns[name].Path, w.Columns[name].Type})
	}
	return nil
}

// Canonical is the JSON that all equal definitions have.
func (d Definition) Canonical() []byte {
	text, err := d.MarshalJSON()
	if err != nil { // only a name that is not UTF-8, which Parse refuses
		return nil
	}
	return text
}

// Equal reports whether the definitions are the same.
func (d Definition) Equal(other Definition) bool {
	return string(d.Canonical()) == string(other.Canonical())
}

// Bucket is the name of the view's bucket.
func (d Definition) Bucket() string { return BucketPrefix + d.Name }

// In reports whether the view is written to a target.
func (d Definition) In(target string) bool { return slices.Contains(d.Into, target) }

// Column returns the column of a name.
func (d Definition) Column(name string) (Column, bool) {
	i, ok := slices.BinarySearchFunc(d.Columns, name, func(c Column, name string) int { return strings.Compare(c.Name, name) })
	if !ok {
		return Column{}, false
	}
	return d.Columns[i], true
}

// Shown returns the column of the definition that a column of the view's rows shows: none for
// the count and the sums of a group.
func (d Definition) Shown(name string) (Column, bool) {
	if d.Group != nil && !slices.Contains(d.Group.By, name) {
		return Column{}, false
	}
	return d.Column(name)
}

// Output are the names of the columns of the view's rows beside the key, in order: the
// columns, or of a group those of By, CountColumn, and the sums.
func (d Definition) Output() (names []string) {
	if d.Group == nil {
		for _, c := range d.Columns {
			names = append(names, c.Name)
		}
		return names
	}
	names = slices.Clone(d.Group.By)
	if d.Group.Count {
		names = append(names, CountColumn)
	}
	for _, name := range d.Group.Sum {
		names = append(names, SumPrefix+name)
	}
	return names
}

// Matches reports whether the view has a row of an agent, empty = of none, under a key; rows
// without keys are matched by their ids.
func (d Definition) Matches(agent, key string) bool {
	return (d.Agents == "" || wildcard.Match(d.Agents, agent)) && (d.Keys == "" || wildcard.Match(d.Keys, key))
}
