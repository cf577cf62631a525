package durable

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// The transaction that moves the view past an event it cannot apply also writes
// that event to agents.dead_letters, so that SQL itself shows which rows are
// behind.

const insertQuarantined = `
	INSERT INTO agents.dead_letters (source, subject, partition, revision, reason, body)
	SELECT $1, s, $2, r, w, b FROM unnest($3::text[], $4::bigint[], $5::text[], $6::text[]) AS u (s, r, w, b)
	ON CONFLICT (source, partition, revision) DO UPDATE SET reason = excluded.reason`

const deleteQuarantined = `
	DELETE FROM agents.dead_letters d USING unnest($3::text[], $4::bigint[]) AS u (s, r)
	WHERE d.source = $1 AND d.partition = $2 AND d.subject COLLATE "C" = u.s AND d.revision <= u.r`

func source(view string) string { return "view " + view }

// queueQuarantine writes newly quarantined events and deletes released ones.
func queueQuarantine(b *pgx.Batch, view string, partition int, c *projections.Changes) {
	queueQuarantined(b, pg.Live, source(view), partition, c.Quarantined)
	if n := len(c.Released); n > 0 {
		streams, revisions := make([]string, n), make([]int64, n)
		for i, r := range c.Released {
			streams[i], revisions[i] = pg.ValidText(string(r.Stream)), int64(r.UpTo)
		}
		b.Queue(deleteQuarantined, source(view), partition, streams, revisions)
	}
}

func queueQuarantined(b *pgx.Batch, in pg.Schema, source string, partition int, messages []history.Message) {
	n := len(messages)
	if n == 0 {
		return
	}
	streams, reasons, bodies := make([]string, n), make([]string, n), make([]string, n)
	revisions := make([]int64, n)
	for i := range messages {
		m := &messages[i]
		streams[i], revisions[i] = pg.ValidText(string(m.Name)), int64(m.Revision)
		reasons[i], bodies[i] = pg.ValidText(m.Bad.Error()), pg.ValidText(string(m.Body))
	}
	b.Queue(in.In(insertQuarantined), source, partition, streams, revisions, reasons, bodies)
}

// Quarantined implements quarantine.TargetQuarantine.
func (t *View) Quarantined(ctx context.Context, partition int) ([]quarantine.Entry, error) {
	rows, err := t.db.Pool().Query(ctx, `
		SELECT subject, min(revision), max(revision), count(*), min(created_at), (array_agg(reason ORDER BY revision))[1]
		FROM agents.dead_letters WHERE source = $1 AND partition = $2 GROUP BY subject`, source(t.view), partition)
	if err != nil {
		return nil, fmt.Errorf("read the quarantine: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (h quarantine.Entry, err error) {
		err = r.Scan(&h.Stream, &h.First, &h.Last, &h.Waiting, &h.Since, &h.Reason)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the quarantine: %w", err)
	}
	return all, nil
}

// swapQuarantine copies the events that the rebuild could not fold and that the
// swap moves the live view past. When the view accepts another journal, it first
// empties the quarantine.
func (s *Shadow) swapQuarantine(ctx context.Context, tx pgx.Tx) error {
	if s.accept {
		if _, err := tx.Exec(ctx, `DELETE FROM agents.dead_letters WHERE source = $1`, source(s.view)); err != nil {
			return fmt.Errorf("empty the quarantine: %w", err)
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO agents.dead_letters (source, subject, partition, revision, reason, body)
		SELECT $1, d.subject, d.partition, d.revision, d.reason, d.body
		FROM agents_next.dead_letters d JOIN agents.checkpoints l ON l.view = $2 AND l.partition = d.partition
		WHERE $3 OR d.revision > l.position
		ON CONFLICT (source, partition, revision) DO NOTHING`, source(s.view), s.view, s.accept)
	if err != nil {
		return fmt.Errorf("quarantine the events that could not be folded: %w", err)
	}
	return nil
}

// unappliable wraps an error in projections.ErrUnappliable when the contents of
// the rows cause it: data exceptions, violated constraints, exceeded limits
// (PostgreSQL manual, appendix A).
func unappliable(err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return err
	}
	switch pgErr.Code[:2] {
	case "22", "23", "54":
		return projections.Unappliable(fmt.Errorf("SQL rejects it: %s (%s)", pgErr.Message, pgErr.Code))
	}
	return err
}

// firstQuarantined is a subquery for the first quarantined revision of an
// aggregate, NULL = none. $1 is the view; %s is the aggregate.
const firstQuarantined = `(SELECT min(d.revision) FROM agents.dead_letters d
	WHERE d.source = 'view ' || $1 AND d.subject COLLATE "C" = %s)`

// QuarantinedStreams implements tiers.DurableTier.
func (t *View) QuarantinedStreams(ctx context.Context, prefix string, limit int) ([]string, error) {
	rows, err := t.db.Pool().Query(ctx, selectQuarantined, source(t.view), prefix, upper(prefix), limit)
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", err)
	}
	return all, nil
}

const selectQuarantined = `
	SELECT DISTINCT subject COLLATE "C" AS s FROM agents.dead_letters
	WHERE source = $1 AND subject COLLATE "C" >= $2 AND subject COLLATE "C" < $3 ORDER BY s LIMIT $4`

// upper returns the exclusive upper bound of the names with a prefix. The prefix
// must end in a dot.
func upper(prefix string) string { return prefix[:len(prefix)-1] + "/" }

// checkQuarantine fails when an aggregate with this prefix is quarantined.
func (t *View) checkQuarantine(ctx context.Context, tx pgx.Tx, prefix events.AggregateName) error {
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
	return tiers.Quarantined("sql", events.AggregateName(stream), revision)
}
