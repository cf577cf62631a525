package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// docColumns holds documents column by column, as arrays for unnest: $1 ids,
// $2 keys, $3 states, $4 versions, $5 revisions, $6 updated, $7 digests.
type docColumns struct {
	ids, keys, states, digests []string
	versions, revisions        []int64
	updated                    []time.Time
}

func (c *docColumns) add(d *readmodel.Doc) {
	c.ids, c.keys = append(c.ids, d.ID), append(c.keys, d.Key)
	c.states, c.digests = append(c.states, string(d.State)), append(c.digests, d.Digest)
	c.versions, c.revisions = append(c.versions, int64(d.Version)), append(c.revisions, int64(d.Revision))
	c.updated = append(c.updated, d.UpdatedAt)
}

// docRows is the FROM clause of every upsert below.
const docRows = `
	FROM (SELECT id, key, st, st::jsonb AS s, v, r, u, d
		FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::text[])
			AS x (id, key, st, v, r, u, d)) AS b`

// readUpTo and readMarks are the columns of an inbox from its state.
const (
	readUpTo  = `'epoch'::timestamptz + (s->>'read_up_to')::bigint * interval '1 microsecond'`
	readMarks = `ARRAY(SELECT m::bigint FROM jsonb_array_elements_text(s->'marks') WITH ORDINALITY AS x (m, n) ORDER BY n)`
)

// docUpserts writes the rows of each kind and never replaces a newer row.
var docUpserts = map[string]string{
	readmodel.KindTask: `
	INSERT INTO agents.tasks AS t (task_id, status, kind, agent_id, priority, deadline, attempts, percent, payload, result,
		reason, detail, created_at, started_at, finished_at, state_text, version, revision, updated_at, digest)
	SELECT id, s->>'status', s->>'kind', s->>'agent_id', (s->>'priority')::int, (s->>'deadline')::timestamptz,
		coalesce((s->>'attempts')::int, 0), (s->>'percent')::float8, s->'payload', s->'result', s->>'reason', s->>'detail',
		(s->>'created_at')::timestamptz, (s->>'started_at')::timestamptz, (s->>'finished_at')::timestamptz, st, v, r, u, d` + docRows + `
	ON CONFLICT (task_id) DO UPDATE SET status = excluded.status, kind = excluded.kind, agent_id = excluded.agent_id,
		priority = excluded.priority, deadline = excluded.deadline, attempts = excluded.attempts, percent = excluded.percent,
		payload = excluded.payload, result = excluded.result, reason = excluded.reason, detail = excluded.detail,
		created_at = excluded.created_at, started_at = excluded.started_at, finished_at = excluded.finished_at,
		state_text = excluded.state_text, version = excluded.version, revision = excluded.revision,
		updated_at = excluded.updated_at, digest = excluded.digest
	WHERE t.revision < excluded.revision`,
	readmodel.KindSession: `
	INSERT INTO agents.sessions AS t (session_id, status, owner, data, ttl_seconds, opened_at, expires_at, ended_at,
		state_text, version, revision, updated_at, digest)
	SELECT id, s->>'status', s->>'owner', s->'data', (s->>'ttl_seconds')::bigint, (s->>'opened_at')::timestamptz,
		(s->>'expires_at')::timestamptz, (s->>'ended_at')::timestamptz, st, v, r, u, d` + docRows + `
	ON CONFLICT (session_id) DO UPDATE SET status = excluded.status, owner = excluded.owner, data = excluded.data,
		ttl_seconds = excluded.ttl_seconds, opened_at = excluded.opened_at, expires_at = excluded.expires_at,
		ended_at = excluded.ended_at, state_text = excluded.state_text, version = excluded.version,
		revision = excluded.revision, updated_at = excluded.updated_at, digest = excluded.digest
	WHERE t.revision < excluded.revision`,
	readmodel.KindReminder: `
	INSERT INTO agents.reminders AS t (reminder_id, status, agent_id, subject, next_at, fired, missed, outcome, set_at, ended_at,
		state_text, version, revision, updated_at, digest)
	SELECT id, s->>'status', s->>'agent_id', s#>>'{command,subject}', (s->>'next_at')::timestamptz, (s->>'fired')::bigint,
		(s->>'missed_count')::bigint, s#>>'{last,outcome}', (s->>'set_at')::timestamptz, (s->>'ended_at')::timestamptz, st, v, r, u, d` + docRows + `
	ON CONFLICT (reminder_id) DO UPDATE SET status = excluded.status, agent_id = excluded.agent_id, subject = excluded.subject,
		next_at = excluded.next_at, fired = excluded.fired, missed = excluded.missed, outcome = excluded.outcome,
		set_at = excluded.set_at, ended_at = excluded.ended_at, state_text = excluded.state_text, version = excluded.version,
		revision = excluded.revision, updated_at = excluded.updated_at, digest = excluded.digest
	WHERE t.revision < excluded.revision`,
	readmodel.KindClaim: `
	INSERT INTO agents.claims AS t (claim_id, status, owner, fence, lease_ms, data, acquired_at, renewed_at, expires_at, ended_at,
		state_text, version, revision, updated_at, digest)
	SELECT id, s->>'status', s->>'owner', (s->>'fence')::bigint, (s->>'lease_ms')::bigint, s->'data', (s->>'acquired_at')::timestamptz,
		(s->>'renewed_at')::timestamptz, (s->>'expires_at')::timestamptz, (s->>'ended_at')::timestamptz, st, v, r, u, d` + docRows + `
	ON CONFLICT (claim_id) DO UPDATE SET status = excluded.status, owner = excluded.owner, fence = excluded.fence,
		lease_ms = excluded.lease_ms, data = excluded.data, acquired_at = excluded.acquired_at, renewed_at = excluded.renewed_at,
		expires_at = excluded.expires_at, ended_at = excluded.ended_at, state_text = excluded.state_text, version = excluded.version,
		revision = excluded.revision, updated_at = excluded.updated_at, digest = excluded.digest
	WHERE t.revision < excluded.revision`,
	readmodel.KindInbox: `
	INSERT INTO agents.inboxes AS t (agent_id, read_up_to, marks, state_text, version, revision, updated_at, digest)
	SELECT id, ` + readUpTo + `, ` + readMarks + `, st, v, r, u, d` + docRows + `
	ON CONFLICT (agent_id) DO UPDATE SET read_up_to = excluded.read_up_to, marks = excluded.marks, state_text = excluded.state_text,
		version = excluded.version, revision = excluded.revision, updated_at = excluded.updated_at, digest = excluded.digest
	WHERE t.revision < excluded.revision`,
	readmodel.KindView: `
	INSERT INTO agents.views AS t (name, status, source, definition, set_by, defined_at, removed_at, state_text, version, revision, updated_at, digest)
	SELECT id, s->>'status', s#>>'{definition,from}', s->'definition', s->>'set_by', (s->>'defined_at')::timestamptz,
		(s->>'removed_at')::timestamptz, st, v, r, u, d` + docRows + `
	ON CONFLICT (name) DO UPDATE SET status = excluded.status, source = excluded.source, definition = excluded.definition,
		set_by = excluded.set_by, defined_at = excluded.defined_at, removed_at = excluded.removed_at, state_text = excluded.state_text,
		version = excluded.version, revision = excluded.revision, updated_at = excluded.updated_at, digest = excluded.digest
	WHERE t.revision < excluded.revision`,
	readmodel.KindLifecycle: `
	INSERT INTO agents.lifecycle AS t (agent_id, phase, since, state_text, version, revision, updated_at, digest)
	SELECT id, s->>'phase', coalesce((s->>'since')::timestamptz, u), st, v, r, u, d` + docRows + `
	ON CONFLICT (agent_id) DO UPDATE SET phase = excluded.phase, since = excluded.since, state_text = excluded.state_text,
		version = excluded.version, revision = excluded.revision, updated_at = excluded.updated_at, digest = excluded.digest
	WHERE t.revision < excluded.revision`,
	readmodel.KindConfig: `
	INSERT INTO agents.config AS t (agent_id, config_key, config_value, state_text, version, revision, updated_at, digest)
	SELECT id, key, s, st, v, r, u, d` + docRows + `
	ON CONFLICT (agent_id, config_key) DO UPDATE SET config_value = excluded.config_value, state_text = excluded.state_text,
		version = excluded.version, revision = excluded.revision, updated_at = excluded.updated_at, digest = excluded.digest
	WHERE t.revision < excluded.revision`,
}

const deleteConfig = `
	DELETE FROM agents.config t USING unnest($1::text[], $2::text[], $3::bigint[]) AS b (id, key, r)
	WHERE t.agent_id = b.id AND t.config_key = b.key AND t.revision < b.r`

func queueDocs(b *pgx.Batch, s pg.Schema, changes []readmodel.DocChange) {
	kinds := map[string]*docColumns{}
	var ids, keys []string
	var revisions []int64
	for i := range changes {
		c := &changes[i]
		if c.Deleted {
			ids, keys, revisions = append(ids, c.ID), append(keys, c.Key), append(revisions, int64(c.Revision))
			continue
		}
		if kinds[c.Kind] == nil {
			kinds[c.Kind] = &docColumns{}
		}
		kinds[c.Kind].add(&c.Doc)
	}
	for _, kind := range [...]string{readmodel.KindClaim, readmodel.KindConfig, readmodel.KindInbox, readmodel.KindLifecycle, readmodel.KindReminder, readmodel.KindSession, readmodel.KindTask, readmodel.KindView} {
		if c := kinds[kind]; c != nil {
			b.Queue(s.In(docUpserts[kind]), c.ids, c.keys, c.states, c.versions, c.revisions, c.updated, c.digests)
		}
	}
	if len(ids) > 0 {
		b.Queue(s.In(deleteConfig), ids, keys, revisions)
	}
}

// docTables names each kind's table and key columns. same is the SQL condition
// that the columns used by lists match state_text.
var docTables = map[string]struct{ table, id, key, same string }{
	readmodel.KindTask: {"agents.tasks", "task_id", "''", `(status, kind, agent_id, priority, deadline, attempts, percent,
		payload, result, reason, detail, created_at, started_at, finished_at) IS NOT DISTINCT FROM
		(s->>'status', s->>'kind', s->>'agent_id', (s->>'priority')::int, (s->>'deadline')::timestamptz,
		coalesce((s->>'attempts')::int, 0), (s->>'percent')::float8, s->'payload', s->'result', s->>'reason', s->>'detail',
		(s->>'created_at')::timestamptz, (s->>'started_at')::timestamptz, (s->>'finished_at')::timestamptz)`},
	readmodel.KindSession: {"agents.sessions", "session_id", "''", `(status, owner, data, ttl_seconds, opened_at, expires_at,
		ended_at) IS NOT DISTINCT FROM
		(s->>'status', s->>'owner', s->'data', (s->>'ttl_seconds')::bigint, (s->>'opened_at')::timestamptz,
		(s->>'expires_at')::timestamptz, (s->>'ended_at')::timestamptz)`},
	readmodel.KindClaim: {"agents.claims", "claim_id", "''", `(status, owner, fence, lease_ms, data, acquired_at, renewed_at,
		expires_at, ended_at) IS NOT DISTINCT FROM
		(s->>'status', s->>'owner', (s->>'fence')::bigint, (s->>'lease_ms')::bigint, s->'data', (s->>'acquired_at')::timestamptz,
		(s->>'renewed_at')::timestamptz, (s->>'expires_at')::timestamptz, (s->>'ended_at')::timestamptz)`},
	readmodel.KindReminder: {"agents.reminders", "reminder_id", "''", `(status, agent_id, subject, next_at, fired, missed, outcome,
		set_at, ended_at) IS NOT DISTINCT FROM
		(s->>'status', s->>'agent_id', s#>>'{command,subject}', (s->>'next_at')::timestamptz, (s->>'fired')::bigint,
		(s->>'missed_count')::bigint, s#>>'{last,outcome}', (s->>'set_at')::timestamptz, (s->>'ended_at')::timestamptz)`},
	readmodel.KindInbox: {"agents.inboxes", "agent_id", "''", `(read_up_to, marks) IS NOT DISTINCT FROM (` + readUpTo + `, ` + readMarks + `)`},
	readmodel.KindView: {"agents.views", "name", "''", `(status, source, definition, set_by, defined_at, removed_at) IS NOT DISTINCT FROM
		(s->>'status', s#>>'{definition,from}', s->'definition', s->>'set_by', (s->>'defined_at')::timestamptz, (s->>'removed_at')::timestamptz)`},
	readmodel.KindLifecycle: {"agents.lifecycle", "agent_id", "''",
		`phase = s->>'phase' AND since = coalesce((s->>'since')::timestamptz, updated_at)`},
	readmodel.KindConfig: {"agents.config", "agent_id", "config_key", `config_value = s`},
}

func scanDoc(kind string) pgx.RowToFunc[readmodel.Doc] {
	return func(r pgx.CollectableRow) (readmodel.Doc, error) {
		d := readmodel.Doc{Kind: kind}
		var text string
		err := r.Scan(&d.ID, &d.Key, &text, &d.Version, &d.Revision, &d.UpdatedAt, &d.Digest)
		d.State, d.UpdatedAt = []byte(text), d.UpdatedAt.UTC()
		return d, err
	}
}

// Docs lists documents of a kind in order of their id (of their key for
// configuration), after a given one, filtered by equality on columns.
func (t *View) Docs(ctx context.Context, q readmodel.DocList) ([]readmodel.Doc, error) {
	tab := docTables[q.Kind]
	args := []any{q.After, q.Prefix, q.Limit}
	where := tab.id + ` > $1 AND starts_with(` + tab.id + `, $2)`
	order := tab.id
	if q.Kind == readmodel.KindConfig {
		args = append(args, q.ID)
		where = tab.id + ` = $4 AND config_key > $1 AND starts_with(config_key, $2)`
		order = "config_key"
	}
	for column, value := range q.Where { // callers pass constant column names
		args = append(args, value)
		where += fmt.Sprintf(" AND %s = $%d", pgx.Identifier{column}.Sanitize(), len(args))
	}
	if q.Only != nil {
		args = append(args, like(q.Only.IDs))
		only := fmt.Sprintf("%s LIKE ANY ($%d)", tab.id, len(args))
		if q.Kind == readmodel.KindTask && len(q.Only.Agents) > 0 {
			args = append(args, like(q.Only.Agents))
			only += fmt.Sprintf(" OR coalesce(agent_id, '') = '' OR agent_id LIKE ANY ($%d)", len(args))
		}
		if q.Kind == readmodel.KindClaim && len(q.Only.Agents) > 0 {
			args = append(args, like(q.Only.Agents))
			only += fmt.Sprintf(" OR owner LIKE ANY ($%d)", len(args))
		}
		where += " AND (" + only + ")"
	}
	rows, err := t.db.Pool().Query(ctx, `SELECT `+tab.id+`, `+tab.key+`, state_text, version, revision, updated_at, digest FROM `+
		tab.table+` WHERE `+where+` ORDER BY `+order+` LIMIT $3`, args...)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", tab.table, err)
	}
	docs, err := collectPage(rows, func(d *readmodel.Doc) int { return len(d.State) }, scanDoc(q.Kind))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("list %s: %w", tab.table, err)
	}
	return docs, nil
}
