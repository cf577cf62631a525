package durable

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// selectEntry reads the row and the view's position in one snapshot, so that the
// row is not older than the position.
var selectEntry = `
	SELECT ` + fmt.Sprintf(firstQuarantined, "$5") + `, c.position, s.state_key IS NOT NULL, coalesce(s.state_text, ''), coalesce(s.version, 0), coalesce(s.revision, 0),
		coalesce(s.writer, ''), coalesce(s.timestamp, now()), coalesce(s.timestamp_ns, 0),
		coalesce(s.updated_at, now()), coalesce(s.digest, '')
	FROM agents.checkpoints c
	LEFT JOIN agents.state s ON s.agent_id = $3 AND s.state_key = $4
	WHERE c.view = $1 AND c.partition = $2`

// Entry reads one state entry and the view's position; found is false when there
// is no row. Fails with tiers.Quarantined when the entry is quarantined.
func (t *View) Entry(ctx context.Context, partition int, agent, key string) (e readmodel.Entry, found bool, position uint64, err error) {
	e = readmodel.Entry{Agent: agent, Key: key}
	var text string
	var nanos int16
	var quarantined *uint64
	stream := events.StateEntry(agent, key)
	err = t.db.Pool().QueryRow(ctx, selectEntry, t.view, partition, agent, key, string(stream)).Scan(
		&quarantined, &position, &found, &text, &e.Version, &e.Revision, &e.Writer, &e.Timestamp, &nanos, &e.UpdatedAt, &e.Digest)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, false, 0, nil
	}
	if err != nil {
		return e, false, 0, fmt.Errorf("read %s.%s: %w", agent, key, err)
	}
	if quarantined != nil {
		return e, false, 0, tiers.Quarantined("sql", stream, *quarantined)
	}
	e.Value = []byte(text)
	e.Timestamp = e.Timestamp.Add(time.Duration(nanos)).UTC()
	e.UpdatedAt = e.UpdatedAt.UTC()
	return e, found, position, nil
}

// Entries reads the entries of an agent whose keys follow after and begin with
// prefix, in order of their keys, and the view's position. Fails with
// tiers.Quarantined when one of the agent's entries is quarantined.
func (t *View) Entries(ctx context.Context, partition int, agent, prefix, after string, limit int) (rows []readmodel.Entry, position uint64, err error) {
	err = pgx.BeginTxFunc(ctx, t.db.Pool(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT position FROM agents.checkpoints WHERE view = $1 AND partition = $2`,
			t.view, partition).Scan(&position)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			err = t.checkQuarantine(ctx, tx, events.StateEntry(agent, ""))
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
		rows, err = collectPage(got, func(e *readmodel.Entry) int { return len(e.Value) }, func(r pgx.CollectableRow) (readmodel.Entry, error) {
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

// selectAgents lists agents by id: $1 after, $2 prefix, $3 limit, $4 phase or
// empty. The recursion skips from agent to agent by the primary keys of both
// tables instead of reading every entry, and stops when the page is full.
const selectAgents = `
	WITH RECURSIVE hop AS (
		SELECT least(
			(SELECT agent_id FROM agents.state WHERE agent_id > $1 AND agent_id >= $2 ORDER BY agent_id LIMIT 1),
			(SELECT agent_id FROM agents.lifecycle WHERE agent_id > $1 AND agent_id >= $2 ORDER BY agent_id LIMIT 1)) AS agent_id
		UNION ALL
		SELECT least(
			(SELECT s.agent_id FROM agents.state s WHERE s.agent_id > hop.agent_id ORDER BY s.agent_id LIMIT 1),
			(SELECT l.agent_id FROM agents.lifecycle l WHERE l.agent_id > hop.agent_id ORDER BY l.agent_id LIMIT 1))
		FROM hop WHERE starts_with(hop.agent_id, $2)
	), page AS (
		SELECT agent_id FROM hop WHERE starts_with(agent_id, $2) AND ($5::text[] IS NULL OR agent_id LIKE ANY ($5)) AND ($4 = '' OR
			coalesce((SELECT l.phase FROM agents.lifecycle l WHERE l.agent_id = hop.agent_id), 'cold') = $4)
		LIMIT $3
	)` + describeAgents

// selectAgentsIn lists the agents in a phase other than cold, which only agents
// with a lifecycle row have.
const selectAgentsIn = `
	WITH page AS (
		SELECT agent_id FROM agents.lifecycle
		WHERE phase = $4 AND agent_id > $1 AND agent_id >= $2 AND starts_with(agent_id, $2)
			AND ($5::text[] IS NULL OR agent_id LIKE ANY ($5))
		ORDER BY agent_id LIMIT $3
	)` + describeAgents

const describeAgents = `
	SELECT page.agent_id, coalesce(l.phase, 'cold'), l.since, coalesce(s.entries, 0),
		greatest(s.revision, l.revision), greatest(s.updated_at, l.updated_at)
	FROM page LEFT JOIN agents.lifecycle l USING (agent_id)
	LEFT JOIN LATERAL (
		SELECT count(*) AS entries, max(revision) AS revision, max(updated_at) AS updated_at
		FROM agents.state WHERE agent_id = page.agent_id
	) s ON true
	ORDER BY page.agent_id`

// Agents returns a page of the agents that have entries, a lifecycle, or both.
func (t *View) Agents(ctx context.Context, list readmodel.AgentList) ([]readmodel.Agent, error) {
	query := selectAgents
	if list.Phase != "" && list.Phase != "cold" {
		query = selectAgentsIn
	}
	var only []string
	if list.Only != nil {
		only = like(list.Only.IDs)
	}
	rows, err := t.db.Pool().Query(ctx, query, list.After, list.Prefix, list.Limit, list.Phase, only)
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	got, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (readmodel.Agent, error) {
		var a readmodel.Agent
		var since *time.Time
		err := r.Scan(&a.ID, &a.Phase, &since, &a.Entries, &a.Revision, &a.UpdatedAt)
		if since != nil {
			a.Since = since.UTC()
		}
		a.UpdatedAt = a.UpdatedAt.UTC()
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	return got, nil
}

// likePattern turns a pattern in which * is any characters into one for LIKE.
var likePattern = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`)

func like(patterns []string) []string {
	all := make([]string, 0, len(patterns))
	for _, p := range patterns {
		all = append(all, likePattern.Replace(p))
	}
	return all
}
