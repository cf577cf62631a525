package service

import (
	"encoding/json"

	"github.com/tidemark-engine/tidemark/internal/contract"
)

// schemaOf is the metadata of an endpoint: the JSON Schema of its request bodies, with a
// definition for each subject; that of its answers; and which answer each subject has.
func schemaOf(endpoint string) map[string]string {
	messages, first := contract.Queries, ""
	if endpoint == commandsEndpoint {
		messages, first = contract.Commands, "Receipt"
	}
	ref := func(name string) string { return "#/$defs/" + name }
	requests, answers, answerOf := contract.Schema{}, contract.Schema{}, map[string]string{}
	var oneOf, oneAnswer []any
	var bodies []string
	answer := func(name string) {
		if _, ok := answers[name]; !ok {
			answers[name] = contract.Shapes[name].Schema(contract.Options{Ref: ref})
			oneAnswer = append(oneAnswer, contract.Schema{"$ref": ref(name)})
		}
	}
	if first != "" {
		answer(first)
	}
	for _, name := range contract.Names(messages) {
		m := messages[name]
		requests[name] = m.Request(ref)
		oneOf = append(oneOf, contract.Schema{"$ref": ref(name)})
		bodies = append(bodies, m.Body)
		answerOf[name] = m.AnswerOf()
		answer(m.AnswerOf())
	}
	for _, name := range contract.Reached(bodies...) {
		requests[name] = contract.Shapes[name].Schema(contract.Options{Ref: ref, Closed: true})
	}
	bodies = bodies[:0]
	for name := range answers {
		bodies = append(bodies, contract.Shapes[name].Body)
	}
	for _, name := range contract.Reached(bodies...) {
		answers[name] = contract.Shapes[name].Schema(contract.Options{Ref: ref})
	}
	return map[string]string{
		"schema":          text(contract.Schema{"$schema": contract.Dialect, "title": endpoint, "$defs": requests, "anyOf": oneOf}),
		"response_schema": text(contract.Schema{"$schema": contract.Dialect, "$defs": answers, "anyOf": oneAnswer}),
		"answers":         text(answerOf),
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // declarations always encode
	}
	return string(b)
}
