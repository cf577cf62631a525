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

// wireMessage is a message as commands publish it.
type wireMessage struct {
	ID     string         `json:"message_id"`
	Kind   string         `json:"kind"`
	From   string         `json:"from"`
	To     string         `json:"to"`
	Type   string         `json:"type"`
	Body   jsontext.Value `json:"body"`
	SentAt time.Time      `json:"sent_at"`
}

// decodeMessage reads a stored message. Anyone may publish on messages.>, so
// one that is not of our form, or that says another thing than its subject, is
// an error.
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
	if said := strings.TrimPrefix(msg.Subject(), s.Subjects.Root("")); said != subject || len(w.Body) == 0 || w.SentAt.IsZero() {
		return m, fmt.Errorf("it says that it belongs on %.400q", subject)
	}
	return readmodel.Message{
		ID: w.ID, Kind: w.Kind, From: w.From, To: w.To, Type: w.Type, Body: w.Body,
		Sequence: meta.Sequence.Stream, SentAt: w.SentAt.UTC(),
	}, nil
}
