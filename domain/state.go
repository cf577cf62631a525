package domain

import (
	"fmt"

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

// Encode is the deterministic JSON of a value. Raw values inside keep the
// spelling of their strings and numbers; white space between tokens is removed.
func Encode(v any) (jsontext.Value, error) {
	return json.Marshal(v, json.Deterministic(true), jsontext.PreserveRawStrings(true))
}
