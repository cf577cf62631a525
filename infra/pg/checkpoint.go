package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Checkpoint is a view's row of agents.checkpoints in one partition.
type Checkpoint struct {
	Position uint64
	Journal  string // the incarnation of the journal that the position is of
	Version  int    // of the view's fold
}

// Checkpoint reads the row of a view, which must exist.
func (d *DB) Checkpoint(ctx context.Context, view string, partition int) (c Checkpoint, err error) {
	err = d.pool.QueryRow(ctx, `SELECT position, incarnation, version FROM agents.checkpoints WHERE view = $1 AND partition = $2`,
		view, partition).Scan(&c.Position, &c.Journal, &c.Version)
	if err != nil {
		return c, fmt.Errorf("read the checkpoint: %w", err)
	}
	return c, nil
}

// MoveCheckpoint moves a view's position; moved is false where the position is
// not from. It does not wait for the disk: a power cut may take the move back.
func (d *DB) MoveCheckpoint(ctx context.Context, view string, partition int, from, to uint64) (moved bool, err error) {
	err = d.InTx(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`SET LOCAL synchronous_commit = off`)
		b.Queue(Fence, view, partition, from, to, nil).Exec(func(tag pgconn.CommandTag) error {
			moved = tag.RowsAffected() == 1
			return nil
		})
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return false, fmt.Errorf("move the checkpoint to %d: %w", to, err)
	}
	return moved, nil
}

func (d *DB) Seal(ctx context.Context, view string, partition int) (position uint64, digest string, err error) {
	err = d.Pool().QueryRow(ctx, `SELECT position, coalesce(digest, '') FROM agents.checkpoints WHERE view = $1 AND partition = $2`,
		view, partition).Scan(&position, &digest)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, "", fmt.Errorf("read the checkpoint: %w", err)
	}
	return position, digest, nil
}

// fence moves the checkpoint if it is where the runner read it. The row it
// locks also keeps a second runner out until this transaction ends.
const Fence = `
	UPDATE agents.checkpoints SET position = $4, digest = CASE WHEN position = $4 THEN digest ELSE $5 END, updated_at = now()
	WHERE view = $1 AND partition = $2 AND position = $3`
