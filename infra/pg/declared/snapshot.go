package declared

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
)

// Snapshot is the rows of a live view at the positions of its checkpoint.
type Snapshot struct {
	Generation
	Positions []uint64
	Rows      map[string][]byte // JSON objects by key
	Pending   map[string]bool   // keys that the bucket may lack
}

// Snapshot reads all rows of a live view at one moment; ok is false if there is none.
func (s *Store) Snapshot(ctx context.Context, name string) (shot Snapshot, ok bool, err error) {
	ok, err = s.read(ctx, name, func(tx pgx.Tx, g *Generation) (err error) {
		if _, err := tx.Exec(ctx, pg.NoTimeouts); err != nil {
			return err
		}
		shot = Snapshot{Generation: *g, Rows: map[string][]byte{}, Pending: map[string]bool{}}
		if shot.Positions, err = positions(ctx, tx, g.Checkpoint(), ""); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, rowJSON(&g.Definition, g.table(), ""))
		if err != nil {
			return err
		}
		var key, text string
		if _, err = pgx.ForEachRow(rows, []any{&key, &text}, func() error {
			shot.Rows[key] = []byte(text)
			return nil
		}); err != nil {
			return err
		}
		if rows, err = tx.Query(ctx, `SELECT key FROM agents.declared_pending WHERE view = $1`, name); err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, []any{&key}, func() error {
			shot.Pending[key] = true
			return nil
		})
		return err
	})
	if err != nil {
		err = fmt.Errorf("read the view %s: %w", name, err)
	}
	return shot, ok, err
}
