package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/config"
	"github.com/tidemark-engine/tidemark/events"
)

// readConfig reads set and unset of a configuration entry.
func readConfig(name string) verb {
	return func(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
		var in struct {
			Key             *string        `json:"key"`
			Value           jsontext.Value `json:"value"`
			ExpectedVersion *uint64        `json:"expected_version"`
		}
		if err := domain.DecodeBody(body, &in); err != nil {
			return Command{}, err
		}
		if err := domain.CheckAgentID(id); err != nil {
			return Command{}, err
		}
		if in.Key == nil {
			return Command{}, domain.MissingField("key")
		}
		key := *in.Key
		if err := domain.CheckKey(key); err != nil {
			return Command{}, err
		}
		unset := name == "unset"
		switch {
		case unset && in.Value != nil:
			return Command{}, domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/value": unset takes no value`)
		case !unset && len(in.Value) == 0:
			return Command{}, domain.MissingField("value")
		}
		if err := b.checkSize("value", in.Value); err != nil {
			return Command{}, err
		}
		expected := ""
		if in.ExpectedVersion != nil {
			expected = strconv.FormatUint(*in.ExpectedVersion, 10)
		}
		request := requestOf(in.Value, func(value string) string { return fingerprint(name, key, value, expected) })
		w := config.Write{
			Agent: id, Key: key, Unset: unset, Value: in.Value, ExpectedVersion: in.ExpectedVersion,
			Request: request.print,
		}
		return Command{
			Aggregate: "config", ID: id, Key: key, Name: events.Config(id, key), request: request,
			fold: func(ev *events.Event) (any, error) { return config.Evolve(config.Entry{}, ev) },
			decide: func(state any, meta domain.Metadata) domain.Decision {
				entry, _ := state.(config.Entry) // nil before the first event: the zero entry
				return config.Decide(entry, w, meta)
			},
			effect: acceptedEffect,
		}, nil
	}
}
