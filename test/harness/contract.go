package harness

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/tidemark-engine/tidemark/internal/contract"
)

// Every answer, refusal and event that a suite meets is compared with its declared schema,
// closed: a member that is not declared is an error. Of each kind the first checkedOfEach are
// compared in a process, so that load costs nothing.

const checkedOfEach = 40

type checker struct {
	mu      sync.Mutex
	schemas map[string]*jsonschema.Resolved
	checked map[string]int
}

var declared = checker{schemas: map[string]*jsonschema.Resolved{}, checked: map[string]int{}}

// Checked reports whether an answer of a declared command, query, event or bucket was
// compared in this process: "agent.set", "event task.created", "AGENT_STATE".
func Checked(name string) bool {
	declared.mu.Lock()
	defer declared.mu.Unlock()
	return declared.checked[name] > 0
}

// closed are the options of a schema that stands alone.
var closed = contract.Options{Ref: func(name string) string { return "#/$defs/" + name }, Closed: true}

// check compares a document with the schema that of returns; name counts.
func (c *checker) check(name, kind string, doc []byte, of func() (contract.Schema, []string)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checked[name]++; c.checked[name] > checkedOfEach {
		return nil
	}
	s, ok := c.schemas[kind]
	if !ok {
		var err error
		if s, err = resolve(of()); err != nil {
			return fmt.Errorf("the schema of %s: %w", kind, err)
		}
		c.schemas[kind] = s
	}
	var value any
	if err := json.Unmarshal(doc, &value); err != nil {
		return fmt.Errorf("%s is not JSON: %w", name, err)
	}
	if err := s.Validate(value); err != nil {
		return fmt.Errorf("%s is not what internal/contract declares: %w\n%.2000s", name, err, doc)
	}
	return nil
}

func resolve(root contract.Schema, bodies []string) (*jsonschema.Resolved, error) {
	defs := contract.Schema{}
	for _, name := range contract.Reached(bodies...) {
		defs[name] = contract.Shapes[name].Schema(closed)
	}
	root["$defs"] = defs
	text, err := json.Marshal(root)
	if err != nil {
		return nil, err
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	return s.Resolve(nil)
}

// ofShape is the schema of a shape.
func ofShape(name string) func() (contract.Schema, []string) {
	return func() (contract.Schema, []string) {
		return contract.Schema{"$ref": closed.Ref(name)}, []string{"x @" + name}
	}
}

// requestName is the declared name of a request's subject: "agent.set" of
// acme.commands.agent.a1.set.
func requestName(subject string) (name string, messages map[string]contract.Message) {
	root, messages := "queries.", contract.Queries
	at := strings.Index(subject, root)
	if i := strings.Index(subject, "commands."); i >= 0 && (at < 0 || i < at) {
		root, messages, at = "commands.", contract.Commands, i
	}
	if at < 0 {
		return "", nil
	}
	tokens := strings.Split(subject[at+len(root):], ".")
	if len(tokens) == 3 {
		return tokens[0] + "." + tokens[2], messages
	}
	return strings.Join(tokens, "."), messages
}

// checkAnswer compares an answer with its schema, and the request with that of its body.
func checkAnswer(t testing.TB, subject string, body, answer []byte, refused bool) {
	t.Helper()
	name, messages := requestName(subject)
	m, known := messages[name]
	var err error
	switch {
	case refused:
		err = declared.check("Error", "Error", answer, ofShape("Error"))
		var no struct{ Error struct{ Kind, Code string } }
		_ = json.Unmarshal(answer, &no)
		if code, ok := contract.Codes[no.Error.Code]; err == nil && (!ok || code.Kind != no.Error.Kind) {
			err = fmt.Errorf("%s: the error code %q of kind %q is not declared", subject, no.Error.Code, no.Error.Kind)
		}
	case known:
		if len(body) > 0 && string(body) != "null" {
			err = declared.check("body of "+name, "body of "+name, body, func() (contract.Schema, []string) {
				return m.Request(closed.Ref), []string{m.Body}
			})
		}
		if err == nil {
			err = declared.check(name, m.AnswerOf(), answer, ofShape(m.AnswerOf()))
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// CheckEvent compares an event with its schema.
func CheckEvent(t testing.TB, body []byte) {
	t.Helper()
	var ev struct{ Type string }
	_ = json.Unmarshal(body, &ev)
	if _, ok := contract.Events[ev.Type]; !ok {
		t.Errorf("the event type %q is not declared: %.300s", ev.Type, body)
		return
	}
	name := "event " + ev.Type
	err := declared.check(name, name, body, func() (contract.Schema, []string) {
		e := contract.Events[ev.Type]
		bodies := []string{"d @Sealed\ne @Erased\nf @" + e.Data}
		if e.State != "" {
			bodies = append(bodies, "s @"+e.State)
		}
		return contract.EventSchema(ev.Type, closed), bodies
	})
	if err != nil {
		t.Error(err)
	}
}

// CheckShape compares a document with a shape; name counts.
func CheckShape(t testing.TB, name, shape string, doc []byte) {
	t.Helper()
	if err := declared.check(name, shape, doc, ofShape(shape)); err != nil {
		t.Error(err)
	}
}
