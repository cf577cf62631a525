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

// Archive is agents.events: the target of the view that fills it, and what is
// read of it.
type Archive struct {
	db   *pg.DB
	view string

	mu     sync.Mutex
	months map[string]struct{} // tables that are known to be there
	beyond map[int]uint64      // by partition: the last revision that Load found
}

var (
	_ projections.Target   = (*Archive)(nil)
	_ projections.Folder   = (*Archive)(nil)
	_ history.ArchiveStore = (*Archive)(nil)
	_ projections.Digested = (*Archive)(nil)
)

// NewArchive is the archive that a view of this name fills.
func New(db *pg.DB, view string) *Archive {
	return &Archive{db: db, view: view, months: map[string]struct{}{}, beyond: map[int]uint64{}}
}

// Fold implements projections.Folder.
func (a *Archive) Fold(batch []history.Message) projections.Changes {
	return projections.Whole(batch)
}

// Load implements projections.Target.
func (a *Archive) Load(ctx context.Context, partition int, id string) (uint64, error) {
	_, err := a.db.Pool().Exec(ctx, `
		INSERT INTO agents.checkpoints (view, partition, position, incarnation)
		VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING`, a.view, partition, id)
	if err != nil {
		return 0, fmt.Errorf("make the checkpoint: %w", err)
	}
	position, err := a.Reaches(ctx, partition, id)
	if err != nil {
		return 0, err
	}
	var last uint64
	err = a.db.Pool().QueryRow(ctx, `SELECT coalesce(max(revision), 0) FROM agents.events WHERE partition = $1`, partition).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("look for the archive's end: %w", err)
	}
	a.mu.Lock()
	a.beyond[partition] = last
	a.mu.Unlock()
	return position, nil
}

// Seal implements projections.Sealed.
func (a *Archive) Seal(ctx context.Context, partition int) (position uint64, digest string, err error) {
	return a.db.Seal(ctx, a.view, partition)
}

// Reaches implements history.ArchiveStore. A power cut may still take the last
// of it, see Settle.
func (a *Archive) Reaches(ctx context.Context, partition int, id string) (position uint64, err error) {
	var known string
	err = a.db.Pool().QueryRow(ctx, `SELECT position, incarnation FROM agents.checkpoints WHERE view = $1 AND partition = $2`,
		a.view, partition).Scan(&position, &known)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the checkpoint: %w", err)
	}
	if known != id {
		return 0, fmt.Errorf("%w: the archive is of journal %s, this is journal %s", history.ErrForeignJournal, known, id)
	}
	return position, nil
}

// Settle returns when all that Reaches has told survives a power cut: a commit
// that waits for its own record on disk waits for all before it.
func (a *Archive) Settle(ctx context.Context, partition int) error {
	err := a.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = on`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE agents.checkpoints SET updated_at = now() WHERE view = $1 AND partition = $2`, a.view, partition)
		return err
	})
	if err != nil {
		return fmt.Errorf("settle the archive: %w", err)
	}
	return nil
}

// Apply implements projections.Target. Events that are there already, after a
// checkpoint was put back, are written anew; those that the journal no longer
// has stay.
func (a *Archive) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	rows := make([]archived, len(c.Messages))
	months := map[string]month{}
	for i := range rows {
		rows[i] = archive(&c.Messages[i])
		m := monthOf(rows[i].recordedAt)
		months[m.table] = m
	}
	a.mu.Lock()
	again := from < a.beyond[partition]
	a.mu.Unlock()
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
		if err := a.open(ctx, tx, months); err != nil {
			return err
		}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"agents", "events"}, archivedColumns,
			pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return rows[i].values(), nil }))
		if err != nil || uint64(len(rows)) == to-from {
			return err
		}
		return a.dense(ctx, tx, partition, from, to)
	})
	a.settled(months, err)
	if err == nil || errors.Is(err, projections.ErrFenced) || errors.Is(err, history.ErrForeignJournal) {
		return err
	}
	return fmt.Errorf("archive %d events up to %d: %w", len(rows), to, err)
}

// dense makes sure that nothing is missing where the journal, trimmed, has not
// delivered every revision: an archive with a gap would be believed whole.
func (a *Archive) dense(ctx context.Context, tx pgx.Tx, partition int, from, to uint64) error {
	var n uint64
	err := tx.QueryRow(ctx, `SELECT count(DISTINCT revision) FROM agents.events WHERE partition = $1 AND revision > $2 AND revision <= $3`,
		partition, from, to).Scan(&n)
	if err != nil || n == to-from {
		return err
	}
	return fmt.Errorf("%w: the journal is trimmed, and %d of its revisions %d to %d of partition %d are not in this database either: "+
		"was it replaced? bring it back, or import an export", history.ErrForeignJournal, to-from-n, from+1, to, partition)
}

func revisions(rows []archived) []int64 {
	all := make([]int64, len(rows))
	for i := range rows {
		all[i] = rows[i].revision
	}
	return all
}
