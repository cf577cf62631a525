package pg

import (
	"context"
	"fmt"
	"math"
)

// ViewVersion returns the lowest fold version of a view's rows over all
// partitions; math.MaxInt32 when the view has no checkpoint.
func (d *DB) ViewVersion(ctx context.Context, view string) (version int, err error) {
	err = d.Pool().QueryRow(ctx, `SELECT coalesce(min(version), $2) FROM agents.checkpoints WHERE view = $1`, view, math.MaxInt32).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("read the view's version: %w", err)
	}
	return version, nil
}
