package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

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
