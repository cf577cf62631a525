package messages

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// wireMessage is the JSON form of a published message.
type wireMessage struct {
	ID     string         `json:"message_id"`
	Kind   string         `json:"kind"`
	From   string         `json:"from"`
	To     string         `json:"to"`
	Type   string         `json:"type"`
	Body   jsontext.Value `json:"body"`
	SentAt time.Time      `json:"sent_at"`
}

// decodeMessage decodes a message of AGENT_MESSAGES. Any client may publish on
// messages.>, so it fails if the body has another form or does not match its
// subject.
func decodeMessage(s *feeds.Streams, msg jetstream.Msg) (m readmodel.Message, err error) {
	meta, err := msg.Metadata()
	if err != nil {
		return m, err
	}
	if err := domain.CheckJSON(msg.Data()); err != nil {
		return m, err
	}
	var w wireMessage
	if err := json.Unmarshal(msg.Data(), &w, json.RejectUnknownMembers(true)); err != nil {
		return m, err
	}
	for noun, id := range map[string]string{"message id": w.ID, "sender": w.From} {
		if err := domain.CheckID(noun, id); err != nil {
			return m, err
		}
	}
	subject := "messages." + w.Kind + "."
	switch w.Kind {
	case readmodel.MessageDirect:
		subject += w.From + "." + w.To
	case readmodel.MessageBroadcast:
		subject += w.From
	case readmodel.MessageNotification:
		subject += w.Type
	}
	if got := strings.TrimPrefix(msg.Subject(), s.Subjects.Root("")); got != subject || len(w.Body) == 0 || w.SentAt.IsZero() {
		return m, fmt.Errorf("the message has no body or no sent_at, or its subject is not %.400q", subject)
	}
	return readmodel.Message{
		ID: w.ID, Kind: w.Kind, From: w.From, To: w.To, Type: w.Type, Body: w.Body,
		Sequence: meta.Sequence.Stream, SentAt: w.SentAt.UTC(),
	}, nil
}
