package readmodel

import "time"

// Kinds of messages that reach an agent.
const (
	MessageDirect    = "direct"
	MessageBroadcast = "broadcast"
)

// MessageNotification is the kind of messages about changes that concern the recipient.
const MessageNotification = "notification"

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
	Sequence uint64 // in the stream AGENT_MESSAGES
	SentAt   time.Time
	Mark     int64 // where it stands in every inbox: microseconds since 1970, rising as messages are stored
	Read     bool  // by the agent whose inbox it is
}
