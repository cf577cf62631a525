package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// inboxMark is the mark of a message: microseconds since 1970.
const inboxMark = `(extract(epoch FROM stored_at) * 1000000)::bigint`

// unreadBy is the condition that a message is unread: $2 what was read up to, $3 single marks.
const unreadBy = `stored_at > $2 AND ` + inboxMark + ` <> ALL ($3::bigint[])`

// selectInbox lists the messages of an agent, newest first: $1 agent, $4 include
// direct messages, $5 include broadcasts, $6 and $7 time and id of the last
// message of the previous page, $8 limit. Each half uses its own index.
func selectInbox(unread string) string {
	return `
	SELECT message_id, kind, sender, coalesce(recipient, ''), body_text, sequence, sent_at, ` + inboxMark + `, NOT (` + unreadBy + `) FROM (
		(SELECT * FROM agents.messages
		WHERE kind = 'direct' AND recipient = $1 AND $4 AND sent_at <= $6 AND (sent_at < $6 OR message_id > $7)` + unread + `
		ORDER BY sent_at DESC, message_id LIMIT $8)
		UNION ALL
		(SELECT * FROM agents.messages
		WHERE kind = 'broadcast' AND $5 AND sent_at <= $6 AND (sent_at < $6 OR message_id > $7)` + unread + `
		ORDER BY sent_at DESC, message_id LIMIT $8)
	) AS m ORDER BY sent_at DESC, message_id LIMIT $8`
}

var selectAll, selectUnread = selectInbox(""), selectInbox(" AND " + unreadBy)

// countUnread counts the unread messages of an agent, to $4 of each kind.
const countUnread = `
	SELECT (SELECT count(*) FROM (SELECT FROM agents.messages WHERE kind = 'direct' AND recipient = $1 AND ` + unreadBy + ` LIMIT $4) AS d)
		+ (SELECT count(*) FROM (SELECT FROM agents.messages WHERE kind = 'broadcast' AND ` + unreadBy + ` LIMIT $4) AS b)`

// endOfTime is later than any message.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Inbox returns a page of the messages of an agent, newest first.
func (t *View) Inbox(ctx context.Context, list readmodel.InboxList) (box readmodel.Inbox, err error) {
	upTo, marks := time.UnixMicro(0).UTC(), []int64{}
	err = t.db.Pool().QueryRow(ctx, `SELECT read_up_to, marks FROM agents.inboxes WHERE agent_id = $1`, list.Agent).Scan(&upTo, &marks)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return box, fmt.Errorf("read what %s has read: %w", list.Agent, err)
	}
	box.ReadUpTo = upTo.UnixMicro()
	err = t.db.Pool().QueryRow(ctx, countUnread, list.Agent, upTo, marks, readmodel.MaxUnread).Scan(&box.Unread)
	if err != nil {
		return box, fmt.Errorf("count the unread messages of %s: %w", list.Agent, err)
	}
	box.Unread = min(box.Unread, readmodel.MaxUnread)
	before, sql := list.Before, selectAll
	if before.IsZero() {
		before = endOfTime
	}
	if list.Unread {
		sql = selectUnread
	}
	rows, err := t.db.Pool().Query(ctx, sql, list.Agent, upTo, marks, list.Direct, list.Broadcasts, before, list.AfterID, list.Limit)
	if err != nil {
		return box, fmt.Errorf("read the inbox of %s: %w", list.Agent, err)
	}
	box.Messages, err = collectPage(rows, func(m *readmodel.Message) int { return len(m.Body) }, func(r pgx.CollectableRow) (readmodel.Message, error) {
		var m readmodel.Message
		var body string
		err := r.Scan(&m.ID, &m.Kind, &m.From, &m.To, &body, &m.Sequence, &m.SentAt, &m.Mark, &m.Read)
		m.Body, m.SentAt = []byte(body), m.SentAt.UTC()
		return m, err
	})
	if err != nil {
		return box, fmt.Errorf("read the inbox of %s: %w", list.Agent, err)
	}
	return box, nil
}
