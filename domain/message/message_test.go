package message_test

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/domain/message"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[message.Sender, message.Send]{
		Evolve: func(s message.Sender, _ *events.Event) (message.Sender, error) { return s, nil },
		Decide: message.Decide, Types: []string{events.MessageSent},
		Command: func(t *rapid.T) message.Send {
			return message.Send{From: "a", Data: events.MessageSend{
				Kind: "direct", To: rapid.SampledFrom([]string{"", "b"}).Draw(t, "to"), Request: "r",
				Body: jsontext.Value(rapid.SampledFrom([]string{`null`, `{ "n" : 1.50 }`, `"\u0041"`}).Draw(t, "body")),
			}}
		},
	}.Laws(t)
}
