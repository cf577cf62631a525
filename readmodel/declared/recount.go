package declared

import (
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain/view"
)

// Recount is the rows of a view, counted again from the last change of every entry.
type Recount struct {
	fold    *Fold
	entries map[string]Change
}

// NewRecount returns the rows before the first change.
func NewRecount(f *Fold) *Recount { return &Recount{f, map[string]Change{}} }

// Add adds the change of an entry.
func (r *Recount) Add(c Change) {
	if c.Gone {
		delete(r.entries, c.Key)
		return
	}
	r.entries[c.Key] = c
}

// row is a row with the texts of its columns, normal ones, in the order of Output.
type row []string

// rows are the rows by key.
func (r *Recount) rows() map[string]row {
	all := map[string]row{}
	if r.fold.Group == nil {
		for key, c := range r.entries {
			texts := make(row, len(c.Values))
			for i, v := range c.Values {
				texts[i] = normal(r.fold.Columns[i].Type, v)
			}
			all[key] = texts
		}
		return all
	}
	type group struct {
		by    row
		count int
		sums  []*big.Rat
	}
	groups := map[string]*group{}
	for _, c := range r.entries {
		key := r.fold.GroupOf(&c)
		g := groups[key]
		if g == nil {
			g = &group{sums: make([]*big.Rat, len(r.fold.Group.Sum))}
			for _, name := range r.fold.Group.By {
				i := r.fold.index(name)
				g.by = append(g.by, normal(r.fold.Columns[i].Type, c.Values[i]))
			}
			for i := range g.sums {
				g.sums[i] = new(big.Rat)
			}
			groups[key] = g
		}
		g.count++
		for i, name := range r.fold.Group.Sum {
			if v := r.fold.Named(&c, name); v != nil {
				if n, ok := new(big.Rat).SetString(*v); ok {
					g.sums[i].Add(g.sums[i], n)
				}
			}
		}
	}
	for key, g := range groups {
		texts := g.by
		if r.fold.Group.Count {
			texts = append(texts, fmt.Sprint(g.count))
		}
		for _, sum := range g.sums {
			digits, _ := sum.FloatPrec() // decimals end
			texts = append(texts, parseDecimal(sum.FloatString(digits)).plain())
		}
		all[key] = texts
	}
	return all
}

// normal is a value as two equal ones are spelled.
func normal(typ string, v *string) string {
	switch {
	case v == nil:
		return "null"
	case typ == view.Numeric:
		return parseDecimal(*v).plain()
	case typ == view.JSONB:
		return canonicalJSON(jsontext.Value(*v))
	}
	return canonical(typ, v)
}

// Mismatch is a row that is not what the entries result in.
type Mismatch struct{ Key, What string }

// Compare compares the rows with those of a store, JSON objects by key.
func (r *Recount) Compare(stored map[string][]byte) (wrong []Mismatch) {
	wanted := r.rows()
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		text, ok := stored[key]
		if !ok {
			wrong = append(wrong, Mismatch{key, fmt.Sprintf("the row is missing, the journal has %.300q", []string(wanted[key]))})
			continue
		}
		got, err := r.read(key, text)
		if err != nil {
			wrong = append(wrong, Mismatch{key, err.Error()})
		} else if !slices.Equal(got, wanted[key]) {
			wrong = append(wrong, Mismatch{key, fmt.Sprintf("the row has %.300q, the journal %.300q", []string(got), []string(wanted[key]))})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(stored)) {
		if wanted[key] == nil {
			wrong = append(wrong, Mismatch{key, "the row has no entry in the journal"})
		}
	}
	return wrong
}

// Len is the number of rows.
func (r *Recount) Len() int { return len(r.rows()) }

// read reads a row of a store.
func (r *Recount) read(key string, text []byte) (row, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("the row cannot be read: %w", err)
	}
	if name, _ := jsontext.AppendUnquote(nil, members[view.KeyColumn]); string(name) != key {
		return nil, fmt.Errorf("the row has the key %.300q", name)
	}
	texts := row{}
	for _, name := range r.fold.Output() {
		typ := view.Numeric
		if c, ok := r.fold.Column(name); ok && !(r.fold.Group != nil && !slices.Contains(r.fold.Group.By, name)) {
			typ = c.Type
		}
		v, ok := members[name]
		if !ok {
			return nil, fmt.Errorf("the row lacks the column %s", name)
		}
		texts = append(texts, normal(typ, Value(typ, v, false)))
	}
	return texts, nil
}
