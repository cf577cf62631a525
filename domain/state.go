package domain

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/events"
)

// Carry completes the events of a decision with the state each results in, so
// that any one of them loads the aggregate. evolve is the aggregate's fold.
func Carry[S any](s S, evs []events.Event, evolve func(S, *events.Event) (S, error)) error {
	for i := range evs {
		var err error
		if s, err = evolve(s, &evs[i]); err != nil {
			return fmt.Errorf("fold %s: %w", evs[i].Type, err)
		}
		if evs[i].State, err = Encode(s); err != nil {
			return fmt.Errorf("encode the state after %s: %w", evs[i].Type, err)
		}
	}
	return nil
}

// Carried is the state that an event carries.
func Carried[S any](ev *events.Event) (s S, err error) {
	if len(ev.State) == 0 {
		return s, fmt.Errorf("%s carries no state", ev.Type)
	}
	return s, json.Unmarshal(ev.State, &s)
}

// Encode is a value as JSON, one form for one value. Raw values inside keep
// their strings and numbers as they are; white space between tokens goes.
func Encode(v any) (jsontext.Value, error) {
	return json.Marshal(v, json.Deterministic(true), jsontext.PreserveRawStrings(true))
}
