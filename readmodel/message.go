package readmodel

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
)

// Kinds of messages that reach an agent.
const (
	MessageDirect    = "direct"
	MessageBroadcast = "broadcast"
)

// MaxUnread is the number up to which unread messages are counted.
const MaxUnread = 10_000

// Inbox is a page of the messages of an agent, and what it has read.
type Inbox struct {
	Messages []Message
	ReadUpTo int64 // a mark
	Unread   int   // of all messages, at most MaxUnread
}

// Message is one message as SQL stores it.
type Message struct {
	ID       string
	Kind     string
	From     string
	To       string // of a direct message
	Type     string // of a notification
	Body     []byte // JSON, as it was sent
	Sequence uint64 // the event's revision; of an earlier build the sequence in AGENT_MESSAGES
	SentAt   time.Time
	Digest   string // of the event
	Mark     int64  // where it stands in every inbox: microseconds since 1970, rising as messages are stored
	Read     bool   // by the agent whose inbox it is
}

// MessageOf returns the message that an event sends; ok is false when it sends none, or
// when its sender was erased.
func MessageOf(rec *events.Record) (m Message, ok bool, err error) {
	if rec.Type != events.MessageSent || rec.Erased {
		return m, false, nil
	}
	var d events.MessageSend
	if err := json.Unmarshal(rec.Data, &d); err != nil {
		return m, false, fmt.Errorf("the data of %s: %w", rec.Type, err)
	}
	return Message{
		ID: rec.CommandID, Kind: d.Kind, From: rec.ID, To: d.To, Type: d.Type, Body: d.Body,
		Sequence: rec.Revision, SentAt: rec.Timestamp, Digest: rec.Digest,
	}, true, nil
}

// Encode is the message as subscribers get it; its body stays byte for byte as sent.
func (m *Message) Encode() []byte {
	b := append(make([]byte, 0, 192+len(m.Body)), '{')
	for _, o := range [...]struct{ name, value string }{
		{"message_id", m.ID}, {"kind", m.Kind}, {"from", m.From}, {"to", m.To}, {"type", m.Type},
	} {
		if o.value != "" {
			b = append(events.AppendString(b, o.name, o.value), ',')
		}
	}
	b = append(b, `"body":`...)
	b = append(append(b, m.Body...), ',')
	return append(events.AppendTime(b, "sent_at", m.SentAt), '}')
}
