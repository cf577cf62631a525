package commands

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/message"
	"github.com/tidemark-engine/tidemark/events"
)

// maxMessage is the size of the largest body of a message, in bytes: the stream
// AGENT_MESSAGES accepts 256 KiB with what is around it.
const maxMessage = 255 << 10

// readMessage reads a verb of a message; the id is the sender's.
func readMessage(name string) verb {
	return func(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
		var in struct {
			To   *string        `json:"to"`
			Type *string        `json:"type"`
			Body jsontext.Value `json:"body"`
		}
		err := domain.DecodeBody(body, &in)
		if err == nil {
			err = domain.CheckAgentID(id)
		}
		if err == nil {
			err = checkMembers(name, in.To, in.Type)
		}
		if err == nil && len(in.Body) == 0 {
			err = domain.MissingField("body")
		}
		if err == nil {
			err = b.checkSize("body", in.Body)
		}
		if err == nil && len(in.Body) > maxMessage {
			err = domain.Errorf(domain.TooLarge, "message.too_large", "body has %d bytes, a message has at most %d", len(in.Body), maxMessage)
		}
		if err != nil {
			return Command{}, err
		}
		c := message.Send{From: id, Data: events.MessageSend{Kind: name, Body: in.Body}}
		switch name {
		case "direct":
			c.Data.To = *in.To
			err = domain.CheckAgentID(c.Data.To)
		case "notify":
			c.Data.Kind, c.Data.Type = "notification", *in.Type
			err = domain.CheckID("type", c.Data.Type)
		}
		request := requestOf(in.Body, func(body string) string { return fingerprint(name, c.Data.To, c.Data.Type, body) })
		c.Data.Request = request.print
		cmd := bind("message", id, "", events.Sent(id), request, fold[message.Sender]{}, c, message.Decide)
		cmd.fold = stateless
		return cmd, err
	}
}

// checkMembers refuses members that belong to another verb, and requires the verb's
// own.
func checkMembers(verb string, to, typ *string) error {
	switch {
	case to != nil && verb != "direct":
		return domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/to": %s has none`, verb)
	case typ != nil && verb != "notify":
		return domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/type": %s has none`, verb)
	case to == nil && verb == "direct":
		return domain.MissingField("to")
	case typ == nil && verb == "notify":
		return domain.MissingField("type")
	}
	return nil
}
