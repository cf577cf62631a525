package durable

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// spared are the places that the shadow could not fold and the live view has
// passed: it holds them itself, or was told to give them up, or could apply
// them. Whichever it is, the shadow knows no better.
func (s *Shadow) spared() (places []rebuild.Place) {
	for stream, l := range s.held {
		if kind, id, key := readmodel.RowOf(stream); kind != "" && s.live != nil && l.revision <= s.live[l.partition] {
			places = append(places, rebuild.Place{Kind: kind, ID: id, Key: key})
		}
	}
	return places
}

// spare takes the spared places from the candidates.
func (s *Shadow) spare(ctx context.Context, tx pgx.Tx) error {
	places := s.spared()
	kinds, ids, keys := make([]string, len(places)), make([]string, len(places)), make([]string, len(places))
	for i, p := range places {
		kinds[i], ids[i], keys[i] = p.Kind, readable(p.ID), readable(p.Key)
	}
	_, err := tx.Exec(ctx, `DELETE FROM agents_next.candidates c USING unnest($1::text[], $2::text[], $3::text[]) AS p (kind, id, key)
		WHERE c.kind = p.kind AND c.k1 = p.id AND c.k2 = p.key`, kinds, ids, keys)
	if err != nil {
		return fmt.Errorf("spare what is quarantined: %w", err)
	}
	return nil
}
