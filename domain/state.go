package domain

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/events"
)

// CarryState sets the state of each event of a decision, so that the last event
// alone loads the aggregate. s is the state before them.
func CarryState[S any](s S, evs []events.Event, evolve func(S, *events.Event) (S, error)) error {
	for i := range evs {
		var err error
		if s, err = evolve(s, &evs[i]); err != nil {
			return fmt.Errorf("evolve %s: %w", evs[i].Type, err)
		}
		if evs[i].State, err = Encode(s); err != nil {
			return fmt.Errorf("encode the state after %s: %w", evs[i].Type, err)
		}
	}
	return nil
}

// CarriedState is the state that an event carries.
func CarriedState[S any](ev *events.Event) (s S, err error) {
	if len(ev.State) == 0 {
		return s, fmt.Errorf("%s carries no state", ev.Type)
	}
	return s, json.Unmarshal(ev.State, &s)
}

// Encode is the deterministic JSON of a value. Raw values inside keep their bytes.
func Encode(v any) (jsontext.Value, error) {
	var spaced rawValues
	text, err := json.Marshal(v, json.Deterministic(true), jsontext.PreserveRawStrings(true), json.WithMarshalers(json.MarshalToFunc(spaced.marshal)))
	if err != nil || len(spaced) == 0 {
		return text, err
	}
	return spaced.insert(text), nil
}

// rawValues are raw values with white space, which the encoder would remove: it writes a mark
// for each.
type rawValues []jsontext.Value

// mark is the text of the mark of value i. No other text has a NUL: CheckJSON refuses it.
func mark(i int) string { return "\x00" + strconv.Itoa(i) }

func (r *rawValues) marshal(e *jsontext.Encoder, v jsontext.Value) error {
	if !bytes.ContainsAny(v, " \t\r\n") {
		return errors.ErrUnsupported // the encoder keeps its bytes
	}
	*r = append(*r, v)
	return e.WriteToken(jsontext.String(mark(len(*r) - 1)))
}

// insert puts the values in the place of their marks, which come in order.
func (r rawValues) insert(text []byte) []byte {
	var whole []byte
	for i, v := range r {
		quoted, _ := jsontext.AppendQuote(nil, mark(i)) // it is UTF-8
		before, after, found := bytes.Cut(text, quoted)
		if whole = append(whole, before...); found {
			whole = append(whole, v...)
		}
		text = after
	}
	return append(whole, text...)
}
