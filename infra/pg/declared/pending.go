package declared

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/readmodel/declared"
)

// Pending is a row that the view's bucket lacks.
type Pending struct {
	Key     string
	Changed string // differs after a later change
}

// Pending returns some rows that the bucket of a view lacks.
func (s *Store) Pending(ctx context.Context, name string, limit int) ([]Pending, error) {
	rows, err := s.db.Pool().Query(ctx, `SELECT key, changed::text FROM agents.declared_pending WHERE view = $1 LIMIT $2`, name, limit)
	if err != nil {
		return nil, fmt.Errorf("read what the bucket of view %s lacks: %w", name, err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Pending])
}

// Written removes rows that the bucket has by now, unless they have changed again.
func (s *Store) Written(ctx context.Context, name string, written []Pending) error {
	keys, changed := make([]string, len(written)), make([]string, len(written))
	for i, p := range written {
		keys[i], changed[i] = p.Key, p.Changed
	}
	_, err := s.db.Pool().Exec(ctx, `DELETE FROM agents.declared_pending p USING unnest($2::text[], $3::text[]) AS w (key, changed)
		WHERE p.view = $1 AND p.key = w.key AND p.changed = w.changed::xid8`, name, keys, changed)
	if err != nil {
		return fmt.Errorf("note what the bucket of view %s has: %w", name, err)
	}
	return nil
}

// Lacks notes rows that the bucket of a view lacks.
func (s *Store) Lacks(ctx context.Context, name string, keys []string) error {
	_, err := s.db.Pool().Exec(ctx, `INSERT INTO agents.declared_pending (view, key) SELECT $1, unnest($2::text[])
		ON CONFLICT (view, key) DO UPDATE SET changed = excluded.changed`, name, keys)
	if err != nil {
		return fmt.Errorf("note what the bucket of view %s lacks: %w", name, err)
	}
	return nil
}

// Rows returns rows of a live view by key, nil = there is none; known is false when the
// view has no live generation.
func (s *Store) Rows(ctx context.Context, name string, keys []string) (found map[string][]byte, known bool, err error) {
	known, err = s.read(ctx, name, func(tx pgx.Tx, g *Generation) error {
		found = make(map[string][]byte, len(keys))
		rows, err := tx.Query(ctx, rowJSON(&g.Definition, g.table(), " WHERE key = ANY ($1)"), keys)
		if err != nil {
			return err
		}
		var key, text string
		_, err = pgx.ForEachRow(rows, []any{&key, &text}, func() error {
			found[key] = []byte(text)
			return nil
		})
		return err
	})
	if err != nil {
		err = fmt.Errorf("read the view %s: %w", name, err)
	}
	return found, known, err
}

// Differ compares the rows of a snapshot with those of a bucket. Rows that are pending are
// not compared.
func (shot *Snapshot) Differ(bucket map[string][]byte, largest int) (wrong []declared.Mismatch) {
	for key, row := range shot.Rows {
		switch got, ok := bucket[key]; {
		case shot.Pending[key], !ok && len(row) > largest:
		case !ok:
			wrong = append(wrong, declared.Mismatch{Key: key, What: "the bucket lacks the row"})
		case !bytes.Equal(got, row):
			wrong = append(wrong, declared.Mismatch{Key: key, What: fmt.Sprintf("the bucket has %.300s, the table %.300s", got, row)})
		}
	}
	for key := range bucket {
		if shot.Rows[key] == nil && !shot.Pending[key] {
			wrong = append(wrong, declared.Mismatch{Key: key, What: "the bucket has a row that the table lacks"})
		}
	}
	return wrong
}
