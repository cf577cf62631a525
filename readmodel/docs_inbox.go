package readmodel

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Kinds of messages that reach an agent.
const (
	MessageDirect    = "direct"
	MessageBroadcast = "broadcast"
)

// MessageNotification is the kind of those that are for whom they concern.
const MessageNotification = "notification"

// Message is one message as SQL keeps it.
type Message struct {
	ID       string
	Kind     string
	From     string
	To       string // of a direct one
	Type     string // of a notification
	Body     []byte // JSON, as it was sent
	Sequence uint64 // in the stream AGENT_MESSAGES
	SentAt   time.Time
}

// InboxList asks for a page of what reached an agent, newest first.
type InboxList struct {
	Agent              string
	Direct, Broadcasts bool
	Before             time.Time // with AfterID the last one seen; zero = from the newest
	AfterID            string
	Limit              int
}

// inbox lists direct messages, and broadcasts where they are asked for: by
// "broadcasts", or by "kind", which leaves the others out.
func (q *Questions) inbox(ctx context.Context, agent string, in *question) (*page, error) {
	if err := oneOf("kind", in.Kind, MessageDirect, MessageBroadcast); err != nil {
		return nil, err
	}
	list := InboxList{
		Agent: agent, Direct: in.Kind != MessageBroadcast,
		Broadcasts: in.Kind == MessageBroadcast || in.Broadcasts && in.Kind == "", Limit: in.limit + 1,
	}
	if in.Cursor != "" {
		at, id, _ := strings.Cut(in.Cursor, "-")
		micros, err := strconv.ParseInt(at, 10, 64)
		if err != nil || domain.CheckID("message id", id) != nil {
			return nil, badCursor(in.Cursor)
		}
		list.Before, list.AfterID = time.UnixMicro(micros).UTC(), id
	}
	if q.Tiers.Durable == nil {
		return nil, sqlOff()
	}
	rows, err := q.Tiers.Durable.Inbox(ctx, list)
	if err != nil {
		return nil, unavailable("sql", err)
	}
	rows, cursor := cut(rows, in.limit, func(m *Message) (string, int) {
		return strconv.FormatInt(m.SentAt.UnixMicro(), 10) + "-" + m.ID, len(m.Body)
	})
	return &page{rows: encodeMessages(rows), source: FromSQL, cursor: cursor}, nil
}

func encodeMessages(rows []Message) []byte {
	return encodeRows("messages", 256, rows, func(b []byte, m *Message) []byte {
		b = events.AppendString(b, "message_id", m.ID)
		b = append(b, ',')
		b = events.AppendString(b, "kind", m.Kind)
		b = append(b, ',')
		b = events.AppendString(b, "from", m.From)
		if m.To != "" {
			b = append(b, ',')
			b = events.AppendString(b, "to", m.To)
		}
		b = append(b, `,"body":`...)
		b = append(b, m.Body...)
		b = append(b, ',')
		b = events.AppendTime(b, "sent_at", m.SentAt)
		b = append(b, `,"sequence":`...)
		return strconv.AppendUint(b, m.Sequence, 10)
	})
}
