package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
)

// Archive is the table agents.events, which the archive view fills.
type Archive struct {
	db     *pg.DB
	view   string
	opener history.Opener // nil = encrypted events stay as they are stored

	mu     sync.Mutex
	months map[string]struct{} // partitions of the table that exist
	last   map[int]uint64      // by journal partition: the last revision that Load found
	whole  map[int]checked     // by journal partition
}

var (
	_ projections.Target             = (*Archive)(nil)
	_ projections.Folder             = (*Archive)(nil)
	_ history.ArchiveStore           = (*Archive)(nil)
	_ projections.CheckpointDigester = (*Archive)(nil)
)

// New returns the archive that the view with this name fills.
func New(db *pg.DB, view string) *Archive {
	return &Archive{db: db, view: view, months: map[string]struct{}{}, last: map[int]uint64{}, whole: map[int]checked{}}
}

// OpenWith makes the archive decrypt the events that it reads.
func (a *Archive) OpenWith(o history.Opener) { a.opener = o }

// Fold implements projections.Folder.
func (a *Archive) Fold(batch []history.Message) projections.Changes {
	return projections.FoldNothing(batch)
}

// Load implements projections.Target.
func (a *Archive) Load(ctx context.Context, partition int, id string) (uint64, error) {
	_, err := a.db.Pool().Exec(ctx, `
		INSERT INTO agents.checkpoints (view, partition, position, incarnation)
		VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING`, a.view, partition, id)
	if err != nil {
		return 0, fmt.Errorf("create the checkpoint: %w", err)
	}
	position, err := a.Reaches(ctx, partition, id)
	if err != nil {
		return 0, err
	}
	// Rows that were lost are archived again from the journal, if it has them.
	if _, err := a.db.Pool().Exec(ctx, `UPDATE agents.checkpoints SET position = $3, digest = NULL, updated_at = now()
		WHERE view = $1 AND partition = $2 AND position > $3`, a.view, partition, position); err != nil {
		return 0, fmt.Errorf("move the checkpoint back to %d: %w", position, err)
	}
	var last uint64
	err = a.db.Pool().QueryRow(ctx, `SELECT coalesce(max(revision), 0) FROM agents.events WHERE partition = $1`, partition).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("read the archive's last revision: %w", err)
	}
	a.mu.Lock()
	a.last[partition] = last
	a.mu.Unlock()
	return position, nil
}

// CheckpointDigest implements projections.CheckpointDigester. Where rows are
// missing the position is the revision before the first of them, without a digest.
func (a *Archive) CheckpointDigest(ctx context.Context, partition int) (position uint64, digest string, err error) {
	var journal, tables string
	var stored *string
	err = a.db.Pool().QueryRow(ctx, selectReaches, a.view, partition).Scan(&position, &journal, &tables, &stored)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("read the checkpoint: %w", err)
	}
	whole, err := a.withoutGap(ctx, partition, position, tables)
	if err != nil || whole < position || stored == nil {
		return whole, "", err
	}
	return position, *stored, nil
}

// Reaches implements history.ArchiveStore: the checkpoint, unless rows before it
// are missing. A power failure may undo the last transactions before Settle.
func (a *Archive) Reaches(ctx context.Context, partition int, id string) (position uint64, err error) {
	var known, tables string
	var digest *string
	err = a.db.Pool().QueryRow(ctx, selectReaches, a.view, partition).Scan(&position, &known, &tables, &digest)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the checkpoint: %w", err)
	}
	if known != id {
		return 0, fmt.Errorf("%w: the archive belongs to journal %s, this is journal %s", history.ErrForeignJournal, known, id)
	}
	return a.withoutGap(ctx, partition, position, tables)
}

// Settle makes the events that Reaches has reported durable: a synchronous commit
// also flushes all earlier commits to disk.
func (a *Archive) Settle(ctx context.Context, partition int) error {
	err := a.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = on`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE agents.checkpoints SET updated_at = now() WHERE view = $1 AND partition = $2`, a.view, partition)
		return err
	})
	if err != nil {
		return fmt.Errorf("flush the archive to disk: %w", err)
	}
	return nil
}

// Apply implements projections.Target. After a checkpoint was reset, it replaces
// events that are already archived; events that are no longer in the journal stay.
func (a *Archive) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	rows := make([]eventRow, len(c.Messages))
	months := map[string]month{}
	for i := range rows {
		rows[i] = newEventRow(&c.Messages[i])
		m := monthOf(rows[i].recordedAt)
		months[m.table] = m
	}
	a.mu.Lock()
	again := from < a.last[partition]
	a.mu.Unlock()
	// gofail: var archiveBegin struct{}
	// return context.DeadlineExceeded
	err := a.db.InTx(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`SET LOCAL synchronous_commit = off`)
		b.Queue(pg.Fence, a.view, partition, from, to, pg.Optional(c.DigestAt(to))).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() != 1 {
				return projections.ErrFenced
			}
			return nil
		})
		if again {
			b.Queue(`DELETE FROM agents.events WHERE partition = $1 AND revision = ANY($2)`, partition, revisions(rows))
		}
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if err := a.ensurePartitions(ctx, tx, months); err != nil {
			return err
		}
		// gofail: var archiveCopy struct{}
		// return context.DeadlineExceeded
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"agents", "events"}, eventColumns,
			pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return rows[i].values(), nil }))
		// gofail: var archiveCommit struct{}
		// return context.DeadlineExceeded
		if err != nil || uint64(len(rows)) == to-from {
			return err
		}
		return a.checkComplete(ctx, tx, partition, from, to)
	})
	// gofail: var archiveCommitted struct{}
	// return context.DeadlineExceeded
	a.cachePartitions(months, err)
	if err == nil || errors.Is(err, projections.ErrFenced) || errors.Is(err, history.ErrForeignJournal) {
		return err
	}
	return fmt.Errorf("archive %d events up to %d: %w", len(rows), to, err)
}

// checkComplete fails when the journal is trimmed and a revision that it did not
// deliver is not archived either: readers rely on an archive without gaps.
func (a *Archive) checkComplete(ctx context.Context, tx pgx.Tx, partition int, from, to uint64) error {
	var n uint64
	err := tx.QueryRow(ctx, `SELECT count(DISTINCT revision) FROM agents.events WHERE partition = $1 AND revision > $2 AND revision <= $3`,
		partition, from, to).Scan(&n)
	if err != nil || n == to-from {
		return err
	}
	return fmt.Errorf("%w: the journal is trimmed, and %d of its revisions %d to %d of partition %d are not in this database either: "+
		"restore the database that has them, or import an export", history.ErrForeignJournal, to-from-n, from+1, to, partition)
}

func revisions(rows []eventRow) []int64 {
	all := make([]int64, len(rows))
	for i := range rows {
		all[i] = rows[i].revision
	}
	return all
}
