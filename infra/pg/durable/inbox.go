package durable

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// selectInbox lists the messages of an agent, newest first: $1 agent, $2 include
// direct messages, $3 include broadcasts, $4 and $5 time and id of the last
// message of the previous page, $6 limit. Each half uses its own index.
const selectInbox = `
	SELECT message_id, kind, sender, coalesce(recipient, ''), body_text, sequence, sent_at FROM (
		(SELECT * FROM agents.messages
		WHERE kind = 'direct' AND recipient = $1 AND $2 AND sent_at <= $4 AND (sent_at < $4 OR message_id > $5)
		ORDER BY sent_at DESC, message_id LIMIT $6)
		UNION ALL
		(SELECT * FROM agents.messages
		WHERE kind = 'broadcast' AND $3 AND sent_at <= $4 AND (sent_at < $4 OR message_id > $5)
		ORDER BY sent_at DESC, message_id LIMIT $6)
	) AS m ORDER BY sent_at DESC, message_id LIMIT $6`

// endOfTime is later than any message.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Inbox returns a page of the messages of an agent, newest first.
func (t *View) Inbox(ctx context.Context, list readmodel.InboxList) ([]readmodel.Message, error) {
	before := list.Before
	if before.IsZero() {
		before = endOfTime
	}
	rows, err := t.db.Pool().Query(ctx, selectInbox, list.Agent, list.Direct, list.Broadcasts, before, list.AfterID, list.Limit)
	if err != nil {
		return nil, fmt.Errorf("read the inbox of %s: %w", list.Agent, err)
	}
	got, err := collectPage(rows, func(m *readmodel.Message) int { return len(m.Body) }, func(r pgx.CollectableRow) (readmodel.Message, error) {
		var m readmodel.Message
		var body string
		err := r.Scan(&m.ID, &m.Kind, &m.From, &m.To, &body, &m.Sequence, &m.SentAt)
		m.Body, m.SentAt = []byte(body), m.SentAt.UTC()
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the inbox of %s: %w", list.Agent, err)
	}
	return got, nil
}
