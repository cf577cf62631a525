package durable

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// excludedRows returns the rows that the shadow could not fold and whose events
// the live view has already handled: it quarantined, dropped or applied them. The
// swap leaves these rows unchanged.
func (s *Shadow) excludedRows() (places []rebuild.RowKey) {
	for stream, l := range s.quarantined {
		if kind, id, key := readmodel.RowOf(stream); kind != "" && s.live != nil && l.revision <= s.live[l.partition] {
			places = append(places, rebuild.RowKey{Kind: kind, ID: id, Key: key})
		}
	}
	return places
}

// deleteExcluded removes the excluded rows from the candidates.
func (s *Shadow) deleteExcluded(ctx context.Context, tx pgx.Tx) error {
	places := s.excludedRows()
	kinds, ids, keys := make([]string, len(places)), make([]string, len(places)), make([]string, len(places))
	for i, p := range places {
		kinds[i], ids[i], keys[i] = p.Kind, pg.ValidText(p.ID), pg.ValidText(p.Key)
	}
	_, err := tx.Exec(ctx, `DELETE FROM agents_next.candidates c USING unnest($1::text[], $2::text[], $3::text[]) AS p (kind, id, key)
		WHERE c.kind = p.kind AND c.k1 = p.id AND c.k2 = p.key`, kinds, ids, keys)
	if err != nil {
		return fmt.Errorf("exclude the quarantined rows: %w", err)
	}
	return nil
}
