package pg

import (
	"context"
	"fmt"
	"math"
)

// ViewVersion is the least version of the fold that made a view's rows; of a
// view without any it is above all.
func (d *DB) ViewVersion(ctx context.Context, view string) (version int, err error) {
	err = d.Pool().QueryRow(ctx, `SELECT coalesce(min(version), $2) FROM agents.checkpoints WHERE view = $1`, view, math.MaxInt32).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("read the view's version: %w", err)
	}
	return version, nil
}
