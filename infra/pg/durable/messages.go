package durable

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/readmodel"
)

const insertMessages = `
	INSERT INTO agents.messages (message_id, kind, sender, recipient, type, body, body_text, sequence, sent_at, stored_at)
	SELECT m, k, f, nullif(t, ''), nullif(y, ''), b::jsonb, b, s, at, newest + n * interval '1 microsecond'
	FROM (SELECT greatest(clock_timestamp(), (SELECT max(stored_at) FROM agents.messages)) AS newest) AS stored,
		unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[])
		WITH ORDINALITY AS x (m, k, f, t, y, b, s, at, n)
	ON CONFLICT DO NOTHING`

// storing is the key of the advisory lock under which messages are stored. One transaction
// at a time: who has read up to a mark has been able to see every message before it.
const storing = 0x7469_6465_696e_626f

// Messages is the table agents.messages.
type Messages struct{ db *pg.DB }

// NewMessages returns the table in db.
func NewMessages(db *pg.DB) Messages { return Messages{db} }

// StoreMessages inserts all messages or none; existing messages stay unchanged.
func (m Messages) StoreMessages(ctx context.Context, batch []readmodel.Message) error {
	var ids, kinds, senders, recipients, types, bodies []string
	var sequences []int64
	var times []time.Time
	for i := range batch {
		m := &batch[i]
		ids, kinds, senders = append(ids, m.ID), append(kinds, m.Kind), append(senders, m.From)
		recipients, types = append(recipients, m.To), append(types, m.Type)
		bodies, sequences = append(bodies, string(m.Body)), append(sequences, int64(m.Sequence))
		times = append(times, m.SentAt)
	}
	err := m.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, m.db.LockKey(storing)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insertMessages, ids, kinds, senders, recipients, types, bodies, sequences, times)
		return err
	})
	if err != nil {
		return fmt.Errorf("store %d messages: %w", len(batch), err)
	}
	return nil
}
