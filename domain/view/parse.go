package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// Bounds of a definition.
const (
	maxName    = 48 // of a view: PostgreSQL has 63 bytes for the table, its prefix, and what a rebuild adds
	maxColumn  = 63 // of a column's name
	maxColumns = 32
	maxPath    = 512
)

// reserved are the names that a column cannot have: those of the view's own columns, and
// those that PostgreSQL gives to columns of every table.
var reserved = []string{KeyColumn, "revision", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}

// body is the body of the command define.
type body struct {
	Name            *string                `json:"name"`
	From            *string                `json:"from"`
	Agents          *string                `json:"agents"`
	Keys            *string                `json:"keys"`
	Columns         map[string]*bodyColumn `json:"columns"`
	Group           *bodyGroup             `json:"group"`
	Into            *[]string              `json:"into"`
	ExpectedVersion *uint64                `json:"expected_version"`
}

type bodyColumn struct {
	Path *string `json:"path"`
	Type *string `json:"type"`
}

type bodyGroup struct {
	By    []string `json:"by"`
	Count bool     `json:"count"`
	Sum   []string `json:"sum"`
}

// Parse reads a definition. It fails with 400 view.invalid, body.missing_field,
// body.unknown_field, body.invalid or json.invalid; details.place is the JSON pointer of
// the cause.
func Parse(name string, text []byte) (Definition, error) {
	d, expected, err := ParseDefine(name, text)
	if err == nil && expected != nil {
		return Definition{}, domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/expected_version"`).With("place", "/expected_version")
	}
	return d, err
}

// ParseDefine is Parse for the body of the command define, which may have an
// expected_version beside the definition; nil = it has none.
func ParseDefine(name string, text []byte) (d Definition, expected *uint64, err error) {
	var in body
	if err := domain.DecodeBody(text, &in); err != nil {
		return Definition{}, nil, err
	}
	if err := CheckName(name); err != nil {
		return Definition{}, nil, err
	}
	if in.Name != nil && *in.Name != name {
		return Definition{}, nil, bad("/name", "the definition is named %.64q, and the command defines %s", *in.Name, name)
	}
	d.Name = name
	for _, part := range []func(*Definition, *body) error{source, patterns, columns, group, into} {
		if err := part(&d, &in); err != nil {
			return Definition{}, nil, err
		}
	}
	return d, in.ExpectedVersion, nil
}

// CheckName accepts 1 to MaxName of [a-z0-9_-]; else 400 id.invalid. Capitals are refused
// because SQL reads them as small letters unless they are quoted.
func CheckName(name string) error {
	if err := domain.CheckID("view name", name); err != nil {
		return err
	}
	if lower := strings.ToLower(name); lower != name {
		return domain.Errorf(domain.Invalid, "id.invalid",
			"view name %.64q has capitals, which name another table in SQL unless they are quoted; name it %.64q", name, lower)
	}
	if len(name) > maxName {
		return domain.Errorf(domain.Invalid, "id.invalid",
			"view name %.64q has %d characters; it names a table and may have %d", name, len(name), maxName)
	}
	return nil
}

func source(d *Definition, in *body) error {
	switch {
	case in.From == nil:
		return missing("/from", "from")
	case !slices.Contains(sources, *in.From):
		return bad("/from", "%.64q is not one of %s", *in.From, strings.Join(sources, ", "))
	}
	d.From = *in.From
	return nil
}

func patterns(d *Definition, in *body) (err error) {
	if d.Agents, err = pattern("/agents", in.Agents, "_-", domain.MaxID); err != nil {
		return err
	}
	d.Keys, err = pattern("/keys", in.Keys, "_-=/.", domain.MaxKey)
	return err
}

// pattern reads a pattern of letters, digits, other characters and '*'. One that matches
// everything is empty.
func pattern(place string, text *string, other string, longest int) (string, error) {
	if text == nil {
		return "", nil
	}
	if *text == "" || len(*text) > longest {
		return "", bad(place, "a pattern has 1 to %d characters, this has %d; leave it out for all", longest, len(*text))
	}
	for _, r := range *text {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '*' || strings.ContainsRune(other, r) {
			continue
		}
		return "", bad(place, "%.64q has %q; a pattern may hold letters, digits, '*' and any of %s", *text, r, other)
	}
	if strings.Trim(*text, "*") == "" {
		return "", nil
	}
	return *text, nil
}

func columns(d *Definition, in *body) error {
	const at = jsontext.Pointer("/columns")
	switch counts := in.Group != nil && in.Group.Count; {
	case in.Columns == nil && !counts:
		return missing(string(at), "columns")
	case len(in.Columns) == 0 && !counts:
		return bad(string(at), "a view has at least one column, unless its group has a count")
	case len(in.Columns) > maxColumns:
		return bad(string(at), "a view has at most %d columns, this has %d", maxColumns, len(in.Columns))
	}
	for _, name := range slices.Sorted(maps.Keys(in.Columns)) {
		place := at.AppendToken(name)
		if why := columnName(name); why != "" {
			return bad(string(place), "column %.80q %s", name, why)
		}
		c := in.Columns[name]
		switch {
		case c == nil:
			return bad(string(place), "column %s is null; it has a path and a type", name)
		case c.Path == nil:
			return missing(string(place.AppendToken("path")), "path")
		case c.Type == nil:
			return missing(string(place.AppendToken("type")), "type")
		case !slices.Contains(types, *c.Type):
			return bad(string(place.AppendToken("type")), "%.64q is not one of %s", *c.Type, strings.Join(types, ", "))
		}
		if why := pointer(*c.Path); why != "" {
			return bad(string(place.AppendToken("path")), "%.128q is not a JSON pointer: %s", *c.Path, why)
		}
		d.Columns = append(d.Columns, Column{name, *c.Path, *c.Type})
	}
	return nil
}

// columnName says why a column cannot have a name; empty = it can.
func columnName(name string) string {
	if slices.Contains(reserved, name) {
		return "has a name that is reserved: " + strings.Join(reserved, ", ")
	}
	if name == "" || len(name) > maxColumn || name[0] >= '0' && name[0] <= '9' ||
		strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' }) {
		return fmt.Sprintf("must have 1 to %d of a-z, 0-9 and _, and not begin with a digit", maxColumn)
	}
	return ""
}

// pointer says why a text is not a JSON pointer (RFC 6901); empty = it is.
func pointer(path string) string {
	switch {
	case path != "" && path[0] != '/':
		return "it begins with '/'"
	case len(path) > maxPath:
		return fmt.Sprintf("it has %d bytes, at most %d are accepted", len(path), maxPath)
	case !jsontext.Pointer(path).IsValid():
		return "'~' is written ~0, and '/' in a name ~1"
	}
	return ""
}

func group(d *Definition, in *body) error {
	if in.Group == nil {
		return nil
	}
	g := Group(*in.Group)
	if len(g.By) == 0 && len(g.Sum) == 0 && !g.Count {
		return bad("/group", "a group has at least one of by, count and sum")
	}
	if err := d.declared("/group/by", g.By, func(c Column) string {
		if g.Count && c.Name == CountColumn {
			return "is the name of the group's count; give the column another one"
		}
		if summed, ok := strings.CutPrefix(c.Name, SumPrefix); ok && slices.Contains(g.Sum, summed) {
			return "is the name of the sum of " + summed + "; give the column another one"
		}
		return ""
	}); err != nil {
		return err
	}
	if err := d.declared("/group/sum", g.Sum, func(c Column) string {
		if c.Type != Numeric {
			return "is " + c.Type + "; only numeric columns have a sum"
		}
		if len(SumPrefix+c.Name) > maxColumn {
			return fmt.Sprintf("is too long for the name of a sum, which has %d characters with %s", maxColumn, SumPrefix)
		}
		return ""
	}); err != nil {
		return err
	}
	if len(g.By) == 0 {
		g.By = nil
	}
	if len(g.Sum) == 0 {
		g.Sum = nil
	}
	d.Group = &g
	return nil
}

// declared checks names in a group: each is a column, once, and check has nothing against it.
func (d *Definition) declared(at jsontext.Pointer, names []string, check func(Column) string) error {
	for i, name := range names {
		place := string(at.AppendToken(fmt.Sprint(i)))
		c, ok := d.Column(name)
		switch {
		case !ok:
			return bad(place, "there is no column %.80q", name)
		case slices.Contains(names[:i], name):
			return bad(place, "column %s is named twice", name)
		}
		if why := check(c); why != "" {
			return bad(place, "column %s %s", name, why)
		}
	}
	return nil
}

func into(d *Definition, in *body) error {
	if in.Into == nil {
		d.Into = []string{SQL}
		return nil
	}
	if len(*in.Into) == 0 {
		return bad("/into", "it is empty; it has sql, kv or both")
	}
	for i, target := range *in.Into {
		place := fmt.Sprintf("/into/%d", i)
		switch {
		case !slices.Contains(targets, target):
			return bad(place, "%.64q is not sql or kv", target)
		case slices.Contains((*in.Into)[:i], target):
			return bad(place, "%s is named twice", target)
		}
	}
	for _, target := range targets {
		if slices.Contains(*in.Into, target) {
			d.Into = append(d.Into, target)
		}
	}
	return nil
}

func bad(place, format string, args ...any) *domain.Error {
	return domain.Errorf(domain.Invalid, "view.invalid", "the view's definition, at %q: %s", place, fmt.Sprintf(format, args...)).With("place", place)
}

func missing(place, name string) *domain.Error {
	return domain.Errorf(domain.Invalid, "body.missing_field", "%q is missing, at %q", name, place).With("place", place)
}
