package readmodel

import "time"

// Kinds of messages that reach an agent.
const (
	MessageDirect    = "direct"
	MessageBroadcast = "broadcast"
)

// MessageNotification is the kind of messages about changes that concern the recipient.
const MessageNotification = "notification"

// Message is one message as SQL stores it.
type Message struct {
	ID       string
	Kind     string
	From     string
	To       string // of a direct message
	Type     string // of a notification
	Body     []byte // JSON, as it was sent
	Sequence uint64 // in the stream AGENT_MESSAGES
	SentAt   time.Time
}
