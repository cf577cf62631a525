package commands

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Messages between agents and heartbeats are not state: their commands leave
// no event, they are published and answered with where that ended.

// Messenger publishes what is no event.
type Messenger interface {
	// Publish stores a publication under its message id. duplicate is set when
	// the id is in the stream's duplicate window already; sequence is then that
	// of the first time. Fails with ErrIDReused when the first time asked
	// something else, with ErrTooLarge when the stream refuses the size; after
	// any other error it may or may not be stored.
	Publish(ctx context.Context, p Publication) (sequence uint64, duplicate bool, err error)
}

// Publication is one message on its way out.
type Publication struct {
	Subject string // without the configured prefix
	ID      string // message id, derived from sender and command id
	Request string // fingerprint of what was asked
	Body    []byte
}

var (
	// ErrIDReused: the message id was used before, for something else.
	ErrIDReused = errors.New("messenger: the message id was used for another message")
	// ErrTooLarge: the stream takes no message of this size.
	ErrTooLarge = errors.New("messenger: the message is too large for its stream")
)

// readMessage reads one of the verbs of a message; the id is the sender's.
func readMessage(name string) verb {
	return func(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
		var in struct {
			To   string         `json:"to"`
			Type string         `json:"type"`
			Body jsontext.Value `json:"body"`
		}
		err := domain.DecodeBody(body, &in)
		if err == nil {
			err = domain.CheckAgentID(id)
		}
		if err == nil {
			err = onlyOf(name, in.To, in.Type)
		}
		if err == nil && len(in.Body) == 0 {
			err = domain.Errorf(domain.Invalid, "body.missing_field", `"body" is missing`)
		}
		if err == nil {
			err = checkSize("body", in.Body, b)
		}
		if err != nil {
			return Command{}, err
		}
		kind, subject := name, "messages."+name+"."+id
		switch name {
		case "direct":
			err, subject = domain.CheckAgentID(in.To), subject+"."+in.To
		case "notify":
			kind, subject = "notification", "messages.notification."+in.Type
			err = domain.CheckID("type", in.Type)
		}
		return Command{
			Aggregate: "message", ID: id, Stream: events.Stream("message." + id),
			Request: fingerprint(name, in.To, in.Type, string(in.Body)), subject: subject,
			encode: func(commandID string, now time.Time) []byte {
				return encodeMessage(commandID, kind, id, in.To, in.Type, in.Body, now)
			},
		}, err
	}
}

// onlyOf refuses the members that another verb takes.
func onlyOf(verb, to, typ string) error {
	if to != "" && verb != "direct" {
		return domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/to": %s takes none`, verb)
	}
	if typ != "" && verb != "notify" {
		return domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/type": %s takes none`, verb)
	}
	return nil
}

// encodeMessage is a message on the wire; its body stays byte for byte.
func encodeMessage(id, kind, from, to, typ string, body []byte, sentAt time.Time) []byte {
	b := append(make([]byte, 0, 192+len(body)), '{')
	for _, m := range [...]struct{ name, value string }{
		{"message_id", id}, {"kind", kind}, {"from", from}, {"to", to}, {"type", typ},
	} {
		if m.value != "" {
			b = append(events.AppendString(b, m.name, m.value), ',')
		}
	}
	b = append(b, `"body":`...)
	b = append(append(b, body...), ',')
	return append(events.AppendTime(b, "sent_at", sentAt), '}')
}

// readHeartbeat reads an agent's sign of life. An agent that has nothing to say
// sends no body.
func readHeartbeat(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Status jsontext.Value `json:"status"`
	}
	err := domain.DecodeBody(body, &in)
	if err == nil {
		err = domain.CheckAgentID(id)
	}
	if err == nil {
		err = checkSize("status", in.Status, b)
	}
	return Command{
		Aggregate: "agent", ID: id, Stream: events.Stream("agent." + id + ".heartbeat"),
		Request: fingerprint("heartbeat", string(in.Status)), subject: "agents.heartbeat." + id,
		encode: func(commandID string, now time.Time) []byte {
			b := append(make([]byte, 0, 128+len(in.Status)), '{')
			b = append(events.AppendString(b, "agent_id", id), ',')
			b = append(events.AppendString(b, "command_id", commandID), ',')
			if len(in.Status) > 0 {
				b = append(append(append(b, `"status":`...), in.Status...), ',')
			}
			return append(events.AppendTime(b, "sent_at", now), '}')
		},
	}, err
}

// publish carries out a command that leaves no event.
func (h *Handler) publish(ctx context.Context, cmd *Command) (Receipt, error) {
	if h.cfg.Messenger == nil {
		return Receipt{}, domain.Errorf(domain.Unavailable, "messages.off", "this engine publishes no messages")
	}
	sequence, duplicate, err := h.cfg.Messenger.Publish(ctx, Publication{
		Subject: cmd.subject, ID: MessageID(cmd.Stream, cmd.CommandID), Request: cmd.Request,
		Body: cmd.encode(cmd.CommandID, h.cfg.Now()),
	})
	switch {
	case errors.Is(err, ErrIDReused):
		return Receipt{}, domain.Errorf(domain.Conflict, "command.id_reused",
			"command id %s has been used by %s with another verb or body", cmd.CommandID, cmd.ID)
	case errors.Is(err, ErrTooLarge):
		return Receipt{}, domain.Errorf(domain.TooLarge, "message.too_large", "%s is too large for its stream: %v", cmd.subject, err)
	case err != nil:
		return Receipt{}, domain.Errorf(domain.Unavailable, "messages.unavailable",
			"the stream of messages did not answer; send the same command id again (%v)", err)
	}
	if duplicate {
		h.stats.Replays.Add(1)
	}
	return Receipt{
		CommandID: cmd.CommandID, Outcome: domain.Accepted, Aggregate: cmd.Aggregate, ID: cmd.ID,
		Version: 1, Revision: sequence, Replayed: duplicate,
	}, nil
}
