package commands

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Messages between agents and heartbeats are not state: their commands leave no
// event. They are published, and the receipt has the sequence of the message.

// Messenger publishes messages and heartbeats.
type Messenger interface {
	// Publish stores a publication under its message id. duplicate is set when
	// the id is in the stream's duplicate window; sequence is then that of the
	// message stored before. It fails with ErrIDReused when that message was of
	// another request and with ErrTooLarge when the stream refuses the size;
	// after any other error the message may or may not be stored.
	Publish(ctx context.Context, p Publication) (sequence uint64, duplicate bool, err error)
}

// Publication is one message to publish.
type Publication struct {
	Subject string // without the configured prefix
	ID      string // message id, derived from sender and command id
	Request string // fingerprint of the request
	Body    []byte
}

var (
	// ErrIDReused: the message id was used before, for another request.
	ErrIDReused = errors.New("messenger: the message id was used for another message")
	// ErrTooLarge: the stream accepts no message of this size.
	ErrTooLarge = errors.New("messenger: the message is too large for its stream")
)

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
		if err != nil {
			return Command{}, err
		}
		var to, typ string
		kind, subject := name, "messages."+name+"."+id
		switch name {
		case "direct":
			to = *in.To
			err, subject = domain.CheckAgentID(to), subject+"."+to
		case "notify":
			typ = *in.Type
			kind, subject = "notification", "messages.notification."+typ
			err = domain.CheckID("type", typ)
		}
		return Command{
			Aggregate: "message", ID: id, Name: events.AggregateName("message." + id),
			request: requestOf(in.Body, func(body string) string { return fingerprint(name, to, typ, body) }),
			run: func(h *Handler, ctx context.Context, cmd *Command, _ bool) (Receipt, error) {
				return h.publish(ctx, cmd, subject, encodeMessage(cmd.CommandID, kind, id, to, typ, in.Body, h.cfg.Now()))
			},
		}, err
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

// encodeMessage is a message on the wire; its body stays byte for byte as sent.
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

// readHeartbeat reads an agent's heartbeat; the body may be empty.
func readHeartbeat(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Status jsontext.Value `json:"status"`
	}
	err := domain.DecodeBody(body, &in)
	if err == nil {
		err = domain.CheckAgentID(id)
	}
	if err == nil {
		err = b.checkSize("status", in.Status)
	}
	return Command{
		Aggregate: "agent", ID: id, Name: events.AggregateName("agent." + id + ".heartbeat"),
		request: requestOf(in.Status, func(status string) string { return fingerprint("heartbeat", status) }),
		run: func(h *Handler, ctx context.Context, cmd *Command, _ bool) (Receipt, error) {
			return h.publish(ctx, cmd, "agents.heartbeat."+id, encodeHeartbeat(cmd.CommandID, id, in.Status, h.cfg.Now()))
		},
	}, err
}

// encodeHeartbeat is a heartbeat on the wire.
func encodeHeartbeat(commandID, agent string, status []byte, sentAt time.Time) []byte {
	b := append(make([]byte, 0, 128+len(status)), '{')
	b = append(events.AppendString(b, "agent_id", agent), ',')
	b = append(events.AppendString(b, "command_id", commandID), ',')
	if len(status) > 0 {
		b = append(append(append(b, `"status":`...), status...), ',')
	}
	return append(events.AppendTime(b, "sent_at", sentAt), '}')
}

// publish executes a command that leaves a message instead of an event.
func (h *Handler) publish(ctx context.Context, cmd *Command, subject string, body []byte) (Receipt, error) {
	if h.cfg.Messenger == nil {
		return Receipt{}, domain.Errorf(domain.Unavailable, "messages.off", "this engine publishes no messages")
	}
	sequence, duplicate, err := h.cfg.Messenger.Publish(ctx, Publication{
		Subject: subject, ID: MessageID(cmd.Name, cmd.CommandID), Request: cmd.request.print, Body: body,
	})
	switch {
	case errors.Is(err, ErrIDReused):
		return Receipt{}, domain.Errorf(domain.Conflict, "command.id_reused",
			"command id %s has been used by %s with another verb or body", cmd.CommandID, cmd.ID)
	case errors.Is(err, ErrTooLarge):
		return Receipt{}, domain.Errorf(domain.TooLarge, "message.too_large", "%s is too large for its stream: %v", subject, err)
	case err != nil:
		return Receipt{}, domain.Errorf(domain.Unavailable, "messages.unavailable",
			"the stream for %s did not answer; send the same command id again (%v)", subject, err)
	}
	if cmd.Aggregate == "message" && !strings.HasPrefix(subject, "messages.notification.") { // which SQL does not store
		raise(&h.published, sequence)
	}
	if duplicate {
		h.stats.Replays.Add(1)
	}
	return Receipt{
		CommandID: cmd.CommandID, Outcome: domain.Accepted, Aggregate: cmd.Aggregate, ID: cmd.ID,
		Version: 1, Revision: sequence, Replayed: duplicate,
	}, nil
}
