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
	Journal  string // incarnation of the journal that Position refers to
	Version  int    // of the view's fold
}

// Checkpoint reads the checkpoint of a view in a partition. Fails when the row
// does not exist.
func (d *DB) Checkpoint(ctx context.Context, view string, partition int) (c Checkpoint, err error) {
	err = d.pool.QueryRow(ctx, `SELECT position, incarnation, version FROM agents.checkpoints WHERE view = $1 AND partition = $2`,
		view, partition).Scan(&c.Position, &c.Journal, &c.Version)
	if err != nil {
		return c, fmt.Errorf("read the checkpoint: %w", err)
	}
	return c, nil
}

// Journals returns the incarnations of the journals whose events the views have
// applied; none before the first migration.
func (d *DB) Journals(ctx context.Context) ([]string, error) {
	rows, err := d.pool.Query(ctx, `SELECT DISTINCT incarnation FROM agents.checkpoints WHERE position > 0`)
	if err != nil {
		return nil, fmt.Errorf("read the journals of the checkpoints: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	var missing *pgconn.PgError
	if errors.As(err, &missing) && (missing.Code == "42P01" || missing.Code == "3F000") { // no table, no schema
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journals of the checkpoints: %w", err)
	}
	return ids, nil
}

// Positions returns how far the rows of each view go, by partition.
func (d *DB) Positions(ctx context.Context) (map[string][]uint64, error) {
	rows, err := d.pool.Query(ctx, `SELECT view, partition, position FROM agents.checkpoints ORDER BY view, partition`)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints: %w", err)
	}
	all := map[string][]uint64{}
	var view string
	var partition int
	var position uint64
	_, err = pgx.ForEachRow(rows, []any{&view, &partition, &position}, func() error {
		at := append(all[view], make([]uint64, partition+1-len(all[view]))...)
		at[partition], all[view] = position, at
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints: %w", err)
	}
	return all, nil
}

// MoveCheckpoint moves a view's position from one value to another; moved is
// false when the stored position is not from. It does not wait for the disk: a
// power failure may undo the move.
func (d *DB) MoveCheckpoint(ctx context.Context, view string, partition int, from, to uint64) (moved bool, err error) {
	tag, err := d.pool.Exec(ctx, moveCheckpoint, view, partition, from, to)
	if err != nil {
		return false, fmt.Errorf("move the checkpoint to %d: %w", to, err)
	}
	return tag.RowsAffected() == 1, nil
}

const moveCheckpoint = `
	UPDATE agents.checkpoints SET position = $4, updated_at = now()
	FROM (SELECT set_config('synchronous_commit', 'off', true)) AS relaxed
	WHERE view = $1 AND partition = $2 AND position = $3`

// CheckpointDigest returns a view's position and the digest of the event there;
// 0 and "" when the view has no checkpoint.
func (d *DB) CheckpointDigest(ctx context.Context, view string, partition int) (position uint64, digest string, err error) {
	err = d.Pool().QueryRow(ctx, `SELECT position, coalesce(digest, '') FROM agents.checkpoints WHERE view = $1 AND partition = $2`,
		view, partition).Scan(&position, &digest)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, "", fmt.Errorf("read the checkpoint: %w", err)
	}
	return position, digest, nil
}

// Fence moves a checkpoint by compare-and-set: $1 view, $2 partition, $3 expected
// position, $4 new position, $5 digest. The row lock blocks a second runner
// until the transaction ends.
const Fence = `
	UPDATE agents.checkpoints SET position = $4, digest = CASE WHEN position = $4 THEN digest ELSE $5 END, updated_at = now()
	WHERE view = $1 AND partition = $2 AND position = $3`
