package events

import "github.com/go-json-experiment/json/jsontext"

// MessageRead says which messages of its inbox an agent has read.
const MessageRead = "message.read"

// Inbox is the name of what an agent has read of its inbox.
func Inbox(agent string) AggregateName { return AggregateName("message." + agent) }

// InboxRead is the data of MessageRead. A mark is where a message stands in every inbox.
type InboxRead struct {
	UpTo    int64   `json:"up_to,omitzero"` // all messages up to this mark; 0 = none
	Marks   []int64 `json:"marks,omitzero"` // single messages
	Request string  `json:"request"`
}

// MessageSent says that an agent has sent a message. Its id is the command's, and it was
// sent at the event's timestamp.
const MessageSent = "message.sent"

// Sent is the name of the messages that an agent has sent.
func Sent(agent string) AggregateName { return AggregateName("message." + agent + ".sent") }

// MessageSend is the data of MessageSent.
type MessageSend struct {
	Kind    string         `json:"kind"` // direct, broadcast or notification
	To      string         `json:"to"`   // of a direct message
	Type    string         `json:"type"` // of a notification
	Body    jsontext.Value `json:"body"` // as sent, byte for byte
	Request string         `json:"request"`
}

// Encode is the data as events contain it.
func (m *MessageSend) Encode() jsontext.Value {
	b := append(make([]byte, 0, 128+len(m.Body)), '{')
	b = AppendString(b, "kind", m.Kind)
	for _, o := range [...]struct{ name, value string }{{"to", m.To}, {"type", m.Type}} {
		if o.value != "" {
			b = AppendString(append(b, ','), o.name, o.value)
		}
	}
	b = append(append(b, `,"body":`...), m.Body...)
	b = AppendString(append(b, ','), "request", m.Request)
	return append(b, '}')
}
