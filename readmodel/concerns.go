package readmodel

import (
	"bytes"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Erased reports whether an aggregate was erased; the aggregate of an agent and of its
// configuration and messages is "agent".
type Erased func(aggregate, id string) bool

// ErasedWith is an erased agent with the ids of what was erased with it, by aggregate.
func ErasedWith(agent string, owned map[string][]string) Erased {
	all := map[[2]string]bool{{"agent", agent}: true}
	for aggregate, ids := range owned {
		for _, id := range ids {
			all[[2]string{aggregate, id}] = true
		}
	}
	return func(aggregate, id string) bool { return all[[2]string{aggregate, id}] }
}

// Concerns reports whether a command, as it was sent, concerns what was erased: its subject
// names it, its body names an erased agent, or a command in its body, of a batch or of a
// reminder, does. What the values in a body say does not matter. A command that was refused
// may be any text: a body that is no JSON object concerns the agents whose ids are tokens of it.
// The subject may begin with a prefix or "commands.".
func (is Erased) Concerns(subject string, body []byte) bool {
	return is.subject(subject) || is.body(body, 0)
}

// subjectAggregates are the aggregates of commands, with the one that is erased.
var subjectAggregates = map[string]string{
	"agent": "agent", "config": "agent", "message": "agent",
	"task": "task", "session": "session", "claim": "claim", "reminder": "reminder", "view": "view",
}

func (is Erased) subject(subject string) bool {
	tokens := strings.Split(subject, ".")
	n := len(tokens)
	if n >= 3 {
		if aggregate, known := subjectAggregates[tokens[n-3]]; known {
			return is(aggregate, tokens[n-2])
		}
	}
	if tokens[n-1] == "batch" || n >= 2 && tokens[n-2] == "tasks" {
		return false
	}
	for i, token := range tokens { // it is no command
		if is("agent", token) || i > 0 && is(subjectAggregates[tokens[i-1]], token) {
			return true
		}
	}
	return false
}

// maxConcerns is the depth of commands in commands that is looked at. No body that is accepted
// is as deep.
const maxConcerns = 32

// body looks at the body of a command.
func (is Erased) body(body []byte, depth int) bool {
	found, object := eachMember(body, func(name string, value jsontext.Value) bool {
		return is.member(name, value, depth)
	})
	return found || !object && is.text(body)
}

// member looks at a member of a body.
func (is Erased) member(name string, value jsontext.Value, depth int) bool {
	if name == "command" || name == "commands" {
		return is.command(value, depth+1)
	}
	switch strings.ReplaceAll(strings.ToLower(name), "_", "") {
	case "agentid", "agent", "owner", "to", "from":
		return is.text(unquoted(value))
	}
	return false
}

// command looks at a command in a body, {"subject","body"}, or at a list of them.
func (is Erased) command(value jsontext.Value, depth int) bool {
	if depth > maxConcerns {
		return is.text(value)
	}
	if value.Kind() == '[' {
		return slices.ContainsFunc(elements(value), func(v jsontext.Value) bool { return is.command(v, depth+1) })
	}
	found, object := eachMember(value, func(name string, value jsontext.Value) bool {
		switch name {
		case "subject":
			return is.subject(string(unquoted(value)))
		case "body":
			return is.body(value, depth)
		}
		return is.member(name, value, depth)
	})
	return found || !object && is.text(value)
}

// text looks for agents in a text that is no JSON object.
func (is Erased) text(text []byte) bool {
	between := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	}
	for token := range bytes.FieldsFuncSeq(text, between) {
		if is("agent", string(token)) {
			return true
		}
	}
	return false
}

// unquoted is the text of a JSON string; any other value stays as it is.
func unquoted(value jsontext.Value) []byte {
	if text, err := jsontext.AppendUnquote(nil, value); err == nil {
		return text
	}
	return value
}

// eachMember calls f with the members of a JSON object until it returns true, and reports
// whether it has and whether the text is an object.
func eachMember(text []byte, f func(name string, value jsontext.Value) bool) (found, object bool) {
	v := jsontext.Value(bytes.TrimSpace(text))
	if v.Kind() != '{' || !v.IsValid(lenient...) {
		return false, false
	}
	d := jsontext.NewDecoder(bytes.NewReader(v), lenient...)
	for _, _ = d.ReadToken(); !found && d.PeekKind() == '"'; { // it is valid
		name, _ := d.ReadToken()
		text := name.String()
		value, _ := d.ReadValue()
		found = f(text, value)
	}
	return found, true
}

// elements are the elements of a JSON array.
func elements(array jsontext.Value) (all []jsontext.Value) {
	d := jsontext.NewDecoder(bytes.NewReader(array), lenient...)
	for _, _ = d.ReadToken(); d.PeekKind() != ']'; { // it is valid
		value, err := d.ReadValue()
		if err != nil {
			return all
		}
		all = append(all, value.Clone())
	}
	return all
}

// lenient takes what is JSON but is refused in a body.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
