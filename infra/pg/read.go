package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// selectEntry takes the row and the view's position from one snapshot, so that
// the answer cannot be older than the position it is given with.
const selectEntry = `
	SELECT c.position, s.state_key IS NOT NULL, coalesce(s.state_text, ''), coalesce(s.version, 0), coalesce(s.revision, 0),
		coalesce(s.writer, ''), coalesce(s.timestamp, now()), coalesce(s.timestamp_ns, 0),
		coalesce(s.updated_at, now()), coalesce(s.digest, '')
	FROM agents.checkpoints c
	LEFT JOIN agents.state s ON s.agent_id = $3 AND s.state_key = $4
	WHERE c.view = $1 AND c.partition = $2`

// Entry is one state entry with the position that SQL had reached when it was
// read; found is false when there is none.
func (t *Durable) Entry(ctx context.Context, partition int, agent, key string) (e readmodel.Entry, found bool, position uint64, err error) {
	e = readmodel.Entry{Agent: agent, Key: key}
	var text string
	var nanos int16
	err = t.db.pool.QueryRow(ctx, selectEntry, t.view, partition, agent, key).Scan(
		&position, &found, &text, &e.Version, &e.Revision, &e.Writer, &e.Timestamp, &nanos, &e.UpdatedAt, &e.Digest)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, false, 0, nil
	}
	if err != nil {
		return e, false, 0, fmt.Errorf("read %s.%s: %w", agent, key, err)
	}
	e.Value = []byte(text)
	e.Timestamp = e.Timestamp.Add(time.Duration(nanos)).UTC()
	e.UpdatedAt = e.UpdatedAt.UTC()
	return e, found, position, nil
}

// Entries are the entries of an agent with keys after a key and with a prefix,
// by key, at most limit, with the position they were read at.
func (t *Durable) Entries(ctx context.Context, partition int, agent, prefix, after string, limit int) (rows []readmodel.Entry, position uint64, err error) {
	err = pgx.BeginTxFunc(ctx, t.db.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT position FROM agents.checkpoints WHERE view = $1 AND partition = $2`,
			t.view, partition).Scan(&position)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		got, err := tx.Query(ctx, `
			SELECT state_key, state_text, version, revision, writer, timestamp, timestamp_ns, updated_at, digest
			FROM agents.state WHERE agent_id = $1 AND state_key > $2 AND starts_with(state_key, $3)
				AND state_key >= $3
			ORDER BY state_key LIMIT $4`, agent, after, prefix, limit)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(got, func(r pgx.CollectableRow) (readmodel.Entry, error) {
			e := readmodel.Entry{Agent: agent}
			var text string
			var nanos int16
			err := r.Scan(&e.Key, &text, &e.Version, &e.Revision, &e.Writer, &e.Timestamp, &nanos, &e.UpdatedAt, &e.Digest)
			e.Value = []byte(text)
			e.Timestamp, e.UpdatedAt = e.Timestamp.Add(time.Duration(nanos)).UTC(), e.UpdatedAt.UTC()
			return e, err
		})
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the entries of %s: %w", agent, err)
	}
	return rows, position, nil
}

// Agents are the agents that have entries, after an id and with a prefix, by
// id. The recursion hops from agent to agent by the primary key instead of
// reading every entry.
func (t *Durable) Agents(ctx context.Context, prefix, after string, limit int) ([]readmodel.Agent, error) {
	rows, err := t.db.pool.Query(ctx, `
		WITH RECURSIVE hop AS (
			(SELECT agent_id FROM agents.state WHERE agent_id > $1 AND agent_id >= $2 ORDER BY agent_id LIMIT 1)
			UNION ALL
			SELECT (SELECT s.agent_id FROM agents.state s WHERE s.agent_id > hop.agent_id ORDER BY s.agent_id LIMIT 1)
			FROM hop WHERE starts_with(hop.agent_id, $2)
		), page AS (SELECT agent_id FROM hop WHERE starts_with(agent_id, $2) LIMIT $3)
		SELECT page.agent_id, count(*), max(s.revision), max(s.updated_at)
		FROM page JOIN agents.state s USING (agent_id) GROUP BY page.agent_id ORDER BY page.agent_id`,
		after, prefix, limit)
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	got, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (readmodel.Agent, error) {
		var a readmodel.Agent
		err := r.Scan(&a.ID, &a.Entries, &a.Revision, &a.UpdatedAt)
		a.UpdatedAt = a.UpdatedAt.UTC()
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	return got, nil
}
