package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// View is the target of the durable view. It writes rows and their checkpoint in
// one transaction.
type View struct {
	db     *pg.DB
	view   string
	schema pg.Schema

	// Living says what the erasure of an agent leaves; nil = nothing up to its event.
	Living Living
}

var (
	_ projections.Target             = (*View)(nil)
	_ projections.CheckpointDigester = (*View)(nil)
)

// New returns the target of the durable view with this name in agents.checkpoints.
func New(db *pg.DB, view string) *View { return &View{db: db, view: view, schema: pg.Live} }

// Load implements projections.Target.
func (t *View) Load(ctx context.Context, partition int, id string) (uint64, error) {
	_, err := t.db.Pool().Exec(ctx, `
		INSERT INTO agents.checkpoints (view, partition, position, incarnation, version)
		VALUES ($1, $2, 0, $3, $4) ON CONFLICT DO NOTHING`, t.view, partition, id, projections.Version(t.view))
	if err != nil {
		return 0, fmt.Errorf("create the checkpoint: %w", err)
	}
	// gofail: var pgCheckpoint struct{}
	// return 0, context.DeadlineExceeded
	at, err := t.db.Checkpoint(ctx, t.view, partition)
	if err != nil {
		return 0, err
	}
	if at.Journal != id {
		return 0, fmt.Errorf("%w: the view in SQL was folded from journal %s, this is journal %s", history.ErrForeignJournal, at.Journal, id)
	}
	if own := projections.Version(t.view); at.Version > own {
		return 0, fmt.Errorf("this engine is older than its views: the rows have version %d, this build folds version %d: run the newer build", at.Version, own)
	}
	return at.Position, nil
}

// CheckpointDigest implements projections.CheckpointDigester.
func (t *View) CheckpointDigest(ctx context.Context, partition int) (position uint64, digest string, err error) {
	return t.db.CheckpointDigest(ctx, t.view, partition)
}

const upsertState = `
	INSERT INTO agents.state AS s (agent_id, state_key, state_value, state_text, version, revision,
		writer, timestamp, timestamp_ns, updated_at, digest)
	SELECT a, k, t::jsonb, t, v, r, w, ts, ns, u, d
	FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
		$6::text[], $7::timestamptz[], $8::smallint[], $9::timestamptz[], $10::text[])
		AS b (a, k, t, v, r, w, ts, ns, u, d)
	ON CONFLICT (agent_id, state_key) DO UPDATE SET
		state_value = excluded.state_value, state_text = excluded.state_text, version = excluded.version,
		revision = excluded.revision, writer = excluded.writer, timestamp = excluded.timestamp,
		timestamp_ns = excluded.timestamp_ns, updated_at = excluded.updated_at, digest = excluded.digest
	WHERE s.revision < excluded.revision`

const deleteState = `
	DELETE FROM agents.state s USING unnest($1::text[], $2::text[], $3::bigint[]) AS b (a, k, r)
	WHERE s.agent_id = b.a AND s.state_key = b.k AND s.revision < b.r`

const insertConflicts = `
	INSERT INTO agents.conflicts (agent_id, state_key, version, revision, kind, verb, strategy, reason,
		state_text, timestamp, recorded_at, writer, command_id, current_version, current_revision, digest)
	SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
		$8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[],
		$14::bigint[], $15::bigint[], $16::text[])
	ON CONFLICT DO NOTHING`

// Apply implements projections.Target. The transaction does not wait for its
// fsync: a power failure loses rows and checkpoint together, and the view folds
// the events again. A transaction that leaves the checkpoint where it is, or
// removes quarantined events, waits, because nothing would repeat it. Fails with
// projections.ErrUnappliable when SQL rejects the contents of a row.
func (t *View) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	// gofail: var pgBegin struct{}
	// return context.DeadlineExceeded
	erased, err := t.erasedRows(ctx, &c)
	if err != nil {
		return err
	}
	err = t.db.InTx(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		if from < to && len(c.Released) == 0 {
			b.Queue(`SET LOCAL synchronous_commit = off`)
		}
		t.queueFence(b, partition, from, to, &c)
		t.queueRows(b, &c)
		if t.schema != next { // which has neither messages nor an outbox
			for _, args := range erased {
				b.Queue(eraseConflicts, args)
			}
			if err := erasuresOf(c.Events).removeOutbox(ctx, tx); err != nil {
				return err
			}
		}
		queueQuarantine(b, t.view, partition, &c)
		// gofail: var pgUpsert struct{}
		// return context.DeadlineExceeded
		err := tx.SendBatch(ctx, b).Close()
		// gofail: var pgCommit struct{}
		// return context.DeadlineExceeded
		return err
	})
	// gofail: var pgCommitted struct{}
	// return context.DeadlineExceeded
	if err == nil || errors.Is(err, projections.ErrFenced) {
		return err
	}
	return fmt.Errorf("write %d rows up to %d: %w", len(c.Entries), to, unappliable(err))
}

func (t *View) queueFence(b *pgx.Batch, partition int, from, to uint64, c *projections.Changes) {
	b.Queue(t.schema.In(pg.Fence), t.view, partition, from, to, pg.Optional(c.DigestAt(to))).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != 1 {
			return projections.ErrFenced
		}
		return nil
	})
}

func (t *View) queueRows(b *pgx.Batch, c *projections.Changes) {
	queueEntries(b, t.schema, c.Entries)
	queueDocs(b, t.schema, c.Docs)
	queueConflicts(b, t.schema, c.Losses)
}

func queueEntries(b *pgx.Batch, s pg.Schema, changes []readmodel.EntryChange) {
	var up stateColumns
	var agents, keys []string
	var revisions []int64
	for i := range changes {
		if c := &changes[i]; c.Deleted {
			agents, keys = append(agents, c.Agent), append(keys, c.Key)
			revisions = append(revisions, int64(c.Revision))
		} else {
			up.add(&c.Entry)
		}
	}
	if len(up.agents) > 0 {
		b.Queue(s.In(upsertState), up.agents, up.keys, up.texts, up.versions, up.revisions,
			up.writers, up.times, up.nanos, up.updated, up.digests)
	}
	if len(agents) > 0 {
		b.Queue(s.In(deleteState), agents, keys, revisions)
	}
}

// stateColumns holds entries column by column, as arrays for unnest.
type stateColumns struct {
	agents, keys, texts, writers, digests []string
	versions, revisions                   []int64
	times, updated                        []time.Time
	nanos                                 []int16
}

func (s *stateColumns) add(e *readmodel.Entry) {
	s.agents, s.keys, s.texts = append(s.agents, e.Agent), append(s.keys, e.Key), append(s.texts, string(e.Value))
	s.writers, s.digests = append(s.writers, e.Writer), append(s.digests, e.Digest)
	s.versions, s.revisions = append(s.versions, int64(e.Version)), append(s.revisions, int64(e.Revision))
	whole, rest := pg.SplitNanos(e.Timestamp)
	s.times, s.nanos = append(s.times, whole), append(s.nanos, rest)
	s.updated = append(s.updated, e.UpdatedAt)
}

func queueConflicts(b *pgx.Batch, s pg.Schema, losses []readmodel.Loss) {
	if len(losses) == 0 {
		return
	}
	var agents, keys, kinds, verbs, strategies, writers, ids, digests []string
	var reasons, texts []*string
	var versions, revisions, curVersions, curRevisions []int64
	var times, recorded []time.Time
	for i := range losses {
		l := &losses[i]
		agents, keys, kinds = append(agents, l.Agent), append(keys, l.Key), append(kinds, l.Kind)
		verbs, strategies = append(verbs, l.Verb), append(strategies, l.Strategy)
		writers, ids, digests = append(writers, l.Writer), append(ids, l.CommandID), append(digests, l.Digest)
		reasons, texts = append(reasons, pg.Optional(l.Reason)), append(texts, pg.Optional(string(l.Value)))
		versions, revisions = append(versions, int64(l.Version)), append(revisions, int64(l.Revision))
		curVersions, curRevisions = append(curVersions, int64(l.CurrentVersion)), append(curRevisions, int64(l.CurrentRevision))
		times, recorded = append(times, l.Timestamp), append(recorded, l.RecordedAt)
	}
	b.Queue(s.In(insertConflicts), agents, keys, versions, revisions, kinds, verbs, strategies, reasons, texts,
		times, recorded, writers, ids, curVersions, curRevisions, digests)
}
