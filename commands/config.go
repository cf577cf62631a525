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
			Key             string         `json:"key"`
			Value           jsontext.Value `json:"value"`
			ExpectedVersion *uint64        `json:"expected_version"`
		}
		if err := domain.DecodeBody(body, &in); err != nil {
			return Command{}, err
		}
		if err := domain.CheckAgentID(id); err != nil {
			return Command{}, err
		}
		if err := domain.CheckKey(in.Key); err != nil {
			return Command{}, err
		}
		unset := name == "unset"
		switch {
		case unset && in.Value != nil:
			return Command{}, domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/value": unset takes no value`)
		case !unset && len(in.Value) == 0:
			return Command{}, domain.Errorf(domain.Invalid, "body.missing_field", `"value" is missing`)
		}
		if err := b.checkSize("value", in.Value); err != nil {
			return Command{}, err
		}
		expected := ""
		if in.ExpectedVersion != nil {
			expected = strconv.FormatUint(*in.ExpectedVersion, 10)
		}
		w := config.Write{
			Agent: id, Key: in.Key, Unset: unset, Value: in.Value, ExpectedVersion: in.ExpectedVersion,
			Request: fingerprint(name, in.Key, string(in.Value), expected),
		}
		return Command{
			Aggregate: "config", ID: id, Key: in.Key, Name: events.Config(id, in.Key), Request: w.Request,
			fold: func(ev *events.Event) (any, error) { return config.Evolve(config.Entry{}, ev) },
			decide: func(state any, meta domain.Metadata) domain.Decision {
				entry, _ := state.(config.Entry) // nil before the first event: the zero entry
				return config.Decide(entry, w, meta)
			},
			effect: acceptedEffect,
		}, nil
	}
}
