// Package message decides the sending of messages between agents.
package message

import (
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Sender is the state of an agent's messages: sending depends on no state.
type Sender struct{}

// Send is the command to send a message.
type Send struct {
	From string
	Data events.MessageSend
}

// Decide decides the command: it is accepted.
func Decide(_ Sender, c Send, meta domain.Metadata) domain.Decision {
	return domain.Decision{Outcome: domain.Accepted, Events: []events.Event{
		{Type: events.MessageSent, Aggregate: "message", ID: c.From, Timestamp: meta.Now, Data: c.Data.Encode()},
	}}
}
