package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// param is an argument of a tool.
type param struct {
	name     string
	kind     string // of JSON Schema; "" = any value
	required bool
	help     string
}

func (p param) schema() map[string]any {
	s := map[string]any{"description": p.help}
	if p.kind != "" {
		s["type"] = p.kind
	}
	return s
}

// schemaOf is the JSON Schema of a tool's arguments.
func schemaOf(params []param) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, p := range params {
		properties[p.name] = p.schema()
		if p.required {
			required = append(required, p.name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

// args are the arguments of a call, each as it was sent: the engine keeps every digit.
type args map[string]json.RawMessage

// parse reads the arguments of a call and compares them with the tool's parameters.
func parse(params []param, raw json.RawMessage) (args, error) {
	a := args{}
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, fmt.Errorf("the arguments must be a JSON object: %w", err)
		}
	}
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.name
		value, given := a[p.name]
		switch {
		case string(value) == "null" && p.kind != "":
			delete(a, p.name) // models send null for what they leave out
			given = false
		case given && !p.accepts(value):
			return nil, fmt.Errorf("argument %s must be of type %s", p.name, p.kind)
		}
		if p.required && !given {
			return nil, fmt.Errorf("argument %s is missing: %s", p.name, p.help)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("argument %q is unknown; known are %s", name, strings.Join(names, ", "))
		}
	}
	return a, nil
}

// accepts compares the first byte of a value with the type.
func (p param) accepts(value json.RawMessage) bool {
	first := value[0]
	switch p.kind {
	case "string":
		return first == '"'
	case "integer", "number":
		return first == '-' || first >= '0' && first <= '9'
	case "boolean":
		return first == 't' || first == 'f'
	case "object":
		return first == '{'
	case "array":
		return first == '['
	}
	return true
}

// text is a string argument, "" if it was left out.
func (a args) text(name string) string {
	var s string
	_ = json.Unmarshal(a[name], &s) // parse has seen that it is a string
	return s
}

// body is what goes to the engine: the arguments without those that the subject has.
func (a args) body(without ...string) map[string]any {
	b := map[string]any{}
	for name, value := range a {
		if !slices.Contains(without, name) {
			b[name] = value
		}
	}
	return b
}

// millis is an argument in milliseconds.
func (a args) millis(name string, otherwise int64) time.Duration {
	ms := otherwise
	if value, ok := a[name]; ok && json.Unmarshal(value, &ms) != nil {
		ms = -1 // no integer: the engine refuses it
	}
	return time.Duration(ms) * time.Millisecond
}
