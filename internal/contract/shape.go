package contract

import (
	"fmt"
	"strconv"
	"strings"
)

// Field is a member of a declared object.
type Field struct {
	Name     string
	Type     string // as declared
	Required bool
	Doc      string
}

// Shape parses declared members. Each line is "name type description", with "!" after the
// name of a required member, or "+Name": the members of that shape, "+?Name": none of them
// required. A type is one of scalars, "a|b" (one of these strings), "@Name" (a shape), "[]type",
// "{}type" (an object with values of that type), "integer(1..10)" (a range), and a "?" after it
// allows null. The name "*" stands for members of any other name.
func Shape(body string) []Field {
	var fields []Field
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if included, ok := strings.CutPrefix(line, "+"); ok {
			included, optional := strings.CutPrefix(included, "?")
			for _, f := range Shape(shape(included).Body) {
				f.Required = f.Required && !optional
				fields = append(fields, f)
			}
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		typ, doc, _ := strings.Cut(strings.TrimSpace(rest), " ")
		name, required := strings.CutSuffix(name, "!")
		fields = append(fields, Field{name, typ, required, strings.TrimSpace(doc)})
	}
	return fields
}

func shape(name string) Type {
	t, ok := Shapes[name]
	if !ok {
		panic(fmt.Sprintf("contract: there is no shape %q", name)) // a test reads all declarations
	}
	return t
}

// Schema is a JSON Schema, draft 2020-12.
type Schema = map[string]any

// Dialect is the value of $schema.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// scalars are the types by name. Ids and keys are strings whose grammar is the engine's: an id
// that does not match is its own error, so the schema only describes it.
var scalars = map[string]Schema{
	"string":  {"type": "string"},
	"integer": {"type": "integer"},
	"count":   {"type": "integer", "minimum": 0},
	"number":  {"type": "number"},
	"bool":    {"type": "boolean"},
	"object":  {"type": "object", "additionalProperties": true},
	"array":   {"type": "array"},
	"any":     {},
	"time":    {"type": "string", "format": "date-time"},
	"id":      {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"},
	"key":     {"type": "string", "pattern": "^[A-Za-z0-9_=/-]+(\\.[A-Za-z0-9_=/-]+)*$", "maxLength": 255},
	"token":   {"type": "string"},
	"cursor":  {"type": "string"},
	"digest":  {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}

// Options of a schema.
type Options struct {
	Ref    func(shape string) string // the value of $ref for a shape
	Closed bool                      // no other members
}

// Object is the schema of declared members.
func Object(doc, body string, o Options) Schema {
	properties, required := Schema{}, []string{}
	var others any
	for _, f := range Shape(body) {
		s := o.typ(f.Type)
		if f.Name == "*" {
			others = s
			continue
		}
		if f.Doc != "" {
			if _, isRef := s["$ref"]; isRef { // siblings of $ref are dropped by readers of older drafts
				s = Schema{"allOf": []any{s}}
			}
			s["description"] = f.Doc
		}
		properties[f.Name] = s
		if f.Required {
			required = append(required, f.Name)
		}
	}
	s := Schema{"type": "object", "properties": properties}
	if doc != "" {
		s["description"] = doc
	}
	switch {
	case others != nil:
		s["additionalProperties"] = others
	case o.Closed:
		s["additionalProperties"] = false
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// typ is the schema of a declared type.
func (o Options) typ(name string) Schema {
	if inner, ok := strings.CutSuffix(name, "?"); ok {
		return Schema{"anyOf": []any{o.typ(inner), Schema{"type": "null"}}}
	}
	if inner, ok := strings.CutPrefix(name, "[]"); ok {
		return Schema{"type": "array", "items": o.typ(inner)}
	}
	if inner, ok := strings.CutPrefix(name, "{}"); ok {
		return Schema{"type": "object", "additionalProperties": o.typ(inner)}
	}
	if inner, ok := strings.CutPrefix(name, "@"); ok {
		shape(inner)
		return Schema{"$ref": o.Ref(inner)}
	}
	if strings.Contains(name, "|") {
		values := []any{}
		for v := range strings.SplitSeq(name, "|") {
			values = append(values, v)
		}
		return Schema{"type": "string", "enum": values}
	}
	base, bounds, bounded := strings.Cut(strings.TrimSuffix(name, ")"), "(")
	known, ok := scalars[base]
	if !ok {
		panic(fmt.Sprintf("contract: there is no type %q", name)) // a test reads all declarations
	}
	s := Schema{}
	for k, v := range known {
		s[k] = v
	}
	if bounded {
		low, high, _ := strings.Cut(bounds, "..")
		for member, text := range map[string]string{"minimum": low, "maximum": high} {
			if text == "" {
				continue
			}
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				panic(fmt.Sprintf("contract: the range of %q: %v", name, err))
			}
			s[member] = n
		}
	}
	return s
}
