package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// upsertMessages stores messages. A message that is stored keeps its place in the inboxes,
// stored_at.
const upsertMessages = `
	INSERT INTO agents.messages AS t (message_id, kind, sender, recipient, type, body, body_text, sequence, sent_at, digest, stored_at)
	SELECT DISTINCT ON (f, m) m, k, f, nullif(t, ''), nullif(y, ''), b::jsonb, b, s, at, d, newest + n * interval '1 microsecond'
	FROM (SELECT greatest(clock_timestamp(), (SELECT max(stored_at) FROM agents.messages)) AS newest) AS stored,
		unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[], $9::text[])
		WITH ORDINALITY AS x (m, k, f, t, y, b, s, at, d, n)
	ORDER BY f, m, n DESC
	ON CONFLICT (sender, message_id) DO UPDATE SET
		kind = excluded.kind, recipient = excluded.recipient, type = excluded.type, body = excluded.body,
		body_text = excluded.body_text, sequence = excluded.sequence, sent_at = excluded.sent_at, digest = excluded.digest
	WHERE t.digest IS DISTINCT FROM excluded.digest`

// storing is the key of the lock under which messages are stored. One transaction at a time:
// who has read up to a mark has been able to see every message before it.
const storing = 0x7469_6465_696e_626f

// Messages is the target of the view messages, the table agents.messages.
type Messages struct{ *View }

var _ projections.Folder = Messages{}

// MessagesView names the view that fills agents.messages and the inboxes.
const MessagesView = "messages"

// NewMessages returns the target of the view with this name; living may be nil.
func NewMessages(db *pg.DB, view string, living Living) Messages {
	t := Messages{New(db, view)}
	t.Living = living
	return t
}

// Fold implements projections.Folder.
func (Messages) Fold(batch []history.Message) projections.Changes {
	return projections.FoldMessages(batch)
}

// Apply implements projections.Target. A transaction with messages waits for its fsync: what
// an agent has read must keep its mark.
func (t Messages) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	erased, err := t.erasedRows(ctx, &c)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	if from < to && len(c.Events)+len(c.Released) == 0 {
		b.Queue(`SET LOCAL synchronous_commit = off`)
	}
	t.queueFence(b, partition, from, to, &c)
	if err := queueMessages(b, t.db.LockKey(storing), c.Events, erased); err != nil {
		return err
	}
	queueQuarantine(b, t.view, partition, &c)
	err = t.db.InTx(ctx, func(tx pgx.Tx) error {
		// gofail: var messageStore struct{}
		// return context.DeadlineExceeded
		return tx.SendBatch(ctx, b).Close()
	})
	// gofail: var messageStored struct{}
	// return context.DeadlineExceeded
	if err == nil || errors.Is(err, projections.ErrFenced) {
		return err
	}
	return fmt.Errorf("store messages up to %d: %w", to, unappliable(err))
}

func queueMessages(b *pgx.Batch, lock int64, recs []*events.Record, erased map[uint64]pgx.NamedArgs) error {
	var ids, kinds, senders, recipients, types, bodies, digests []string
	var sequences []int64
	var times []time.Time
	store := func() {
		if len(ids) > 0 {
			b.Queue(upsertMessages, ids, kinds, senders, recipients, types, bodies, sequences, times, digests)
		}
		ids, kinds, senders, recipients, types, bodies, digests, sequences, times = nil, nil, nil, nil, nil, nil, nil, nil, nil
	}
	for i, rec := range recs {
		if i == 0 {
			b.Queue(pg.LockRow, MessagesView)
			b.Queue(pg.LockAdvisory, lock)
		}
		if rec.Type == events.Erased {
			store()
			b.Queue(eraseMessages, erased[rec.Revision])
		}
		m, sent, err := readmodel.MessageOf(rec)
		if err != nil {
			return projections.Unappliable(err)
		}
		if !sent {
			continue
		}
		ids, kinds, senders = append(ids, m.ID), append(kinds, m.Kind), append(senders, m.From)
		recipients, types = append(recipients, m.To), append(types, m.Type)
		bodies, sequences = append(bodies, string(m.Body)), append(sequences, int64(m.Sequence))
		times, digests = append(times, m.SentAt), append(digests, m.Digest)
	}
	store()
	return nil
}

// Again makes the view fold the journal with this incarnation from its beginning. The rows
// stay where they are, marked by an empty digest until their events are folded.
func (t Messages) Again(ctx context.Context, id string) error {
	err := t.db.InTx(ctx, func(tx pgx.Tx) error {
		for _, sql := range []string{
			pg.NoTimeouts, `UPDATE agents.messages SET digest = '' WHERE digest <> ''`,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE agents.checkpoints SET position = 0, digest = NULL, incarnation = $2 WHERE view = $1`, t.view, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("reset the view %s: %w", t.view, err)
	}
	return nil
}

// Sweep removes the rows that no event of the journal has, once the view is complete, and
// returns how many.
func (t Messages) Sweep(ctx context.Context) (removed int64, err error) {
	err = t.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, pg.NoTimeouts); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `DELETE FROM agents.messages WHERE digest = ''`)
		removed = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("remove messages that are not in the journal: %w", err)
	}
	return removed, nil
}
