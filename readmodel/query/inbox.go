package query

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// inbox lists an agent's messages, direct ones and broadcasts; "broadcasts": false leaves the
// latter out, "kind" selects one of both, and "unread" those that the agent has not read.
func (q *Query) inbox(ctx context.Context, agent string, in *request) (*page, error) {
	if err := oneOf("kind", in.Kind, readmodel.MessageDirect, readmodel.MessageBroadcast); err != nil {
		return nil, err
	}
	list := readmodel.InboxList{
		Agent: agent, Unread: in.Unread, Direct: in.Kind != readmodel.MessageBroadcast,
		Broadcasts: in.Kind == readmodel.MessageBroadcast || in.Kind == "" && (in.Broadcasts == nil || *in.Broadcasts), Limit: in.limit + 1,
	}
	if in.Cursor != "" {
		at, id, _ := strings.Cut(in.Cursor, "-")
		micros, err := strconv.ParseUint(at, 10, 63)
		if err != nil || domain.CheckID("message id", id) != nil {
			return nil, badCursor(in.Cursor)
		}
		list.Before, list.AfterID = time.UnixMicro(int64(micros)).UTC(), id
	}
	token, err := q.awaitSQL(ctx, in, q.Tiers.MessagesProgress)
	if err != nil {
		return nil, err
	}
	box, err := q.Tiers.Durable.Inbox(ctx, list)
	if err != nil {
		return nil, tiers.Unavailable("sql", err)
	}
	rows, cursor := paginate(box.Messages, in.limit, func(m *readmodel.Message) (string, int) {
		return strconv.FormatInt(m.SentAt.UnixMicro(), 10) + "-" + m.ID, len(m.Body)
	})
	more := strconv.AppendInt([]byte(`,"unread":`), int64(box.Unread), 10)
	more = strconv.AppendInt(append(more, `,"read_up_to":`...), box.ReadUpTo, 10)
	return &page{rows: encodeMessages(rows), more: more, source: tiers.FromSQL, cursor: cursor, token: token}, nil
}

func encodeMessages(rows []readmodel.Message) []byte {
	return encodeRows("messages", 256, rows, func(b []byte, m *readmodel.Message) []byte {
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
		b = strconv.AppendUint(b, m.Sequence, 10)
		b = append(b, `,"mark":`...)
		b = strconv.AppendInt(b, m.Mark, 10)
		b = append(b, `,"read":`...)
		return strconv.AppendBool(b, m.Read)
	})
}
