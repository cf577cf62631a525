package archive

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
)

// DigestAt returns the digest of an archived event; found is false when the
// archive does not have it.
func (a *Archive) DigestAt(ctx context.Context, partition int, revision uint64) (digest string, found bool, err error) {
	err = a.Each(ctx, partition, revision-1, revision, func(m history.Message) error {
		digest, found = m.Digest, true
		return nil
	})
	return digest, found, err
}

// RollBack removes the events of a partition after a revision, which the journal
// has lost, and moves the position there. digest is that of the event at the
// revision.
func (a *Archive) RollBack(ctx context.Context, partition int, to uint64, digest string) (removed int64, err error) {
	err = a.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, pg.NoTimeouts); err != nil {
			return err
		}
		moved, err := tx.Exec(ctx, `UPDATE agents.checkpoints SET position = $3, digest = nullif($4, ''), updated_at = now()
			WHERE view = $1 AND partition = $2 AND position > $3`, a.view, partition, to, digest)
		if err != nil || moved.RowsAffected() == 0 {
			return err
		}
		gone, err := tx.Exec(ctx, `DELETE FROM agents.events WHERE partition = $1 AND revision > $2`, partition, to)
		removed = gone.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("roll back the archive of partition %d to revision %d: %w", partition, to, err)
	}
	return removed, nil
}
