package contract

import (
	"slices"
	"strings"
)

// AnswerOf is the name of the shape that answers a command.
func (m *Message) AnswerOf() string {
	if m.Answer == "" {
		return "Receipt"
	}
	return m.Answer
}

// Request is the schema of a body. A body has no members that are not declared.
func (m *Message) Request(ref func(shape string) string) Schema {
	return Object(m.Doc, m.Body, Options{Ref: ref, Closed: true})
}

// Schema is the schema of a shape.
func (t Type) Schema(o Options) Schema { return Object(t.Doc, t.Body, o) }

// EventSchema is the schema of an event of a type, as queries and feeds show it and as the
// journal has it.
func EventSchema(typ string, o Options) Schema {
	ev := Events[typ]
	s := Object(ev.Doc, shape("Event").Body, o)
	properties := s["properties"].(Schema)
	properties["type"] = Schema{"const": typ}
	plain := Schema{"data": Schema{"$ref": o.Ref(ev.Data)}}
	if ev.State != "" {
		plain["state"] = Schema{"$ref": o.Ref(ev.State)}
	}
	// Content that is encrypted has an outline as its state.
	hidden := Schema{"data": Schema{"anyOf": []any{Schema{"$ref": o.Ref("Sealed")}, Schema{"$ref": o.Ref("Erased")}}}}
	s["anyOf"] = []any{Schema{"properties": plain}, Schema{"properties": hidden}}
	return s
}

// Reached are the shapes that bodies name, and those that these name, sorted.
func Reached(bodies ...string) []string {
	seen := map[string]bool{}
	var visit func(body string)
	visit = func(body string) {
		for _, f := range Shape(body) {
			name, ok := strings.CutPrefix(strings.Trim(f.Type, "[]{}?"), "@")
			if ok && !seen[name] {
				seen[name] = true
				visit(shape(name).Body)
			}
		}
	}
	for _, body := range bodies {
		visit(body)
	}
	names := []string{}
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
