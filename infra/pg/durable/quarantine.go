package durable

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// What the view holds back is in agents.dead_letters, in the same transaction
// that passes it by: so SQL itself knows which of its rows are not level.

const insertHeld = `
	INSERT INTO agents.dead_letters (source, subject, partition, revision, reason, body)
	SELECT $1, s, $2, r, w, b FROM unnest($3::text[], $4::bigint[], $5::text[], $6::text[]) AS u (s, r, w, b)
	ON CONFLICT (source, partition, revision) DO UPDATE SET reason = excluded.reason`

const deleteReleased = `
	DELETE FROM agents.dead_letters d USING unnest($3::text[], $4::bigint[]) AS u (s, r)
	WHERE d.source = $1 AND d.partition = $2 AND d.subject COLLATE "C" = u.s AND d.revision <= u.r`

func source(view string) string { return "view " + view }

// queueHeld writes what the view leaves out, and removes what it no longer
// does.
func queueHeld(b *pgx.Batch, view string, partition int, c *projections.Changes) {
	queueLetters(b, pg.Live, source(view), partition, c.Held)
	if n := len(c.Released); n > 0 {
		streams, revisions := make([]string, n), make([]int64, n)
		for i, r := range c.Released {
			streams[i], revisions[i] = readable(string(r.Stream)), int64(r.UpTo)
		}
		b.Queue(deleteReleased, source(view), partition, streams, revisions)
	}
}

func queueLetters(b *pgx.Batch, in pg.Schema, source string, partition int, held []history.Message) {
	n := len(held)
	if n == 0 {
		return
	}
	streams, reasons, bodies := make([]string, n), make([]string, n), make([]string, n)
	revisions := make([]int64, n)
	for i := range held {
		m := &held[i]
		streams[i], revisions[i] = readable(string(m.Stream)), int64(m.Revision)
		reasons[i], bodies[i] = readable(m.Bad.Error()), readable(string(m.Body))
	}
	b.Queue(in.In(insertHeld), source, partition, streams, revisions, reasons, bodies)
}

// Letters implements projections.Letters.
func (t *View) Letters(ctx context.Context, partition int) ([]quarantine.Held, error) {
	rows, err := t.db.Pool().Query(ctx, `
		SELECT subject, min(revision), max(revision), count(*), min(created_at), (array_agg(reason ORDER BY revision))[1]
		FROM agents.dead_letters WHERE source = $1 AND partition = $2 GROUP BY subject`, source(t.view), partition)
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (h quarantine.Held, err error) {
		err = r.Scan(&h.Stream, &h.First, &h.Last, &h.Waiting, &h.Since, &h.Reason)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", err)
	}
	return all, nil
}

// swapLetters takes over what a rebuild could not fold and the live view has
// not come to: the swap passes it by. Of another journal nothing is held.
func (s *Shadow) swapLetters(ctx context.Context, tx pgx.Tx) error {
	if s.accept {
		if _, err := tx.Exec(ctx, `DELETE FROM agents.dead_letters WHERE source = $1`, source(s.view)); err != nil {
			return fmt.Errorf("forget what was quarantined: %w", err)
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO agents.dead_letters (source, subject, partition, revision, reason, body)
		SELECT $1, d.subject, d.partition, d.revision, d.reason, d.body
		FROM agents_next.dead_letters d JOIN agents.checkpoints l ON l.view = $2 AND l.partition = d.partition
		WHERE $3 OR d.revision > l.position
		ON CONFLICT (source, partition, revision) DO NOTHING`, source(s.view), s.view, s.accept)
	if err != nil {
		return fmt.Errorf("quarantine what could not be folded: %w", err)
	}
	return nil
}

// readable is text as a column takes it: what is torn must not be refused too.
func readable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// unappliable tells an error that lies in what is written from one of the server's
// (PostgreSQL manual, appendix A): data exceptions, violated constraints,
// exceeded limits.
func unappliable(err error) error {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || len(answer.Code) != 5 {
		return err
	}
	switch answer.Code[:2] {
	case "22", "23", "54":
		return fmt.Errorf("%w: SQL refuses it: %s (%s)", projections.ErrUnappliable, answer.Message, answer.Code)
	}
	return err
}

// heldBack is the first revision that the view holds back of a stream, nil =
// none; to be selected with a row, $1 being the view.
const heldBack = `(SELECT min(d.revision) FROM agents.dead_letters d
	WHERE d.source = 'view ' || $1 AND d.subject COLLATE "C" = %s)`

// Held implements readmodel.DurableTier.
func (t *View) Held(ctx context.Context, prefix string, limit int) ([]string, error) {
	rows, err := t.db.Pool().Query(ctx, selectHeld, source(t.view), prefix, upper(prefix), limit)
	if err != nil {
		return nil, fmt.Errorf("list what is quarantined: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list what is quarantined: %w", err)
	}
	return all, nil
}

const selectHeld = `
	SELECT DISTINCT subject COLLATE "C" AS s FROM agents.dead_letters
	WHERE source = $1 AND subject COLLATE "C" >= $2 AND subject COLLATE "C" < $3 ORDER BY s LIMIT $4`

// upper is the first name after all that begin with a prefix, which ends in a
// dot.
func upper(prefix string) string { return prefix[:len(prefix)-1] + "/" }

// heldUnder refuses to read rows of which some are held back.
func (t *View) heldUnder(ctx context.Context, tx pgx.Tx, prefix events.Stream) error {
	var stream string
	var revision uint64
	err := tx.QueryRow(ctx, `
		SELECT subject, revision FROM agents.dead_letters
		WHERE source = $1 AND subject COLLATE "C" >= $2 AND subject COLLATE "C" < $3 ORDER BY revision LIMIT 1`,
		source(t.view), string(prefix), upper(string(prefix))).Scan(&stream, &revision)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return tiers.HeldBack("sql", events.Stream(stream), revision)
}
