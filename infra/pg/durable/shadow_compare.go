package durable

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Compare implements rebuild.Shadow. It reads one snapshot and takes no locks.
func (s *Shadow) Compare(ctx context.Context) (live []uint64, err error) {
	err = s.snapshot(ctx, func(tx pgx.Tx) error {
		if live, _, err = s.positions(ctx, tx, ""); err != nil {
			return err
		}
		return s.candidates(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("compare the shadow with the live view: %w", err)
	}
	return live, nil
}

func (s *Shadow) snapshot(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.db.Pool(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, pg.NoTimeouts); err != nil {
			return err
		}
		return f(tx)
	})
}

// candidates records the keys of all rows that differ or exist on one side only.
func (s *Shadow) candidates(ctx context.Context, tx pgx.Tx) error {
	for i := range shadowTables {
		t := &shadowTables[i]
		on := ""
		for i, k := range t.keys {
			if i > 0 {
				on += " AND "
			}
			on += "l." + k + " = n." + k
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`
			INSERT INTO agents_next.candidates SELECT $1, %s
			FROM agents.%[3]s l FULL JOIN agents_next.%[3]s n ON %[2]s
			WHERE ROW(l.*) IS DISTINCT FROM ROW(n.*) ON CONFLICT DO NOTHING`, t.key("l", "n"), on, t.name), t.kind)
		if err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
	}
	return nil
}

// insertKeys adds the keys of rows to a key table.
func insertKeys(ctx context.Context, tx pgx.Tx, table string, places []rebuild.RowKey) error {
	kinds, ids, keys := make([]string, len(places)), make([]string, len(places)), make([]string, len(places))
	for i, p := range places {
		kinds[i], ids[i], keys[i] = p.Kind, pg.ValidText(p.ID), pg.ValidText(p.Key)
	}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO agents_next.`+table+` SELECT kind, id, key, 0
		FROM unnest($1::text[], $2::text[], $3::text[]) AS p (kind, id, key) WHERE kind <> $4 ON CONFLICT DO NOTHING`,
		kinds, ids, keys, readmodel.KindConflict)
	// An aggregate has one row for each conflict.
	for _, from := range []pg.Schema{pg.Live, next} {
		b.Queue(`INSERT INTO agents_next.`+table+` SELECT $4, c.agent_id, c.state_key, c.version
			FROM unnest($1::text[], $2::text[], $3::text[]) AS p (kind, id, key)
			JOIN `+string(from)+`.conflicts c ON c.agent_id = p.id AND c.state_key = p.key
			WHERE p.kind = $4 ON CONFLICT DO NOTHING`, kinds, ids, keys, readmodel.KindConflict)
	}
	b.Queue(`ANALYZE agents_next.` + table)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("record the keys of %d rows: %w", len(places), err)
	}
	return nil
}

// Check implements rebuild.Shadow.
func (s *Shadow) Check(ctx context.Context, since func(context.Context) ([]rebuild.RowKey, error)) (d rebuild.Digests, err error) {
	err = s.snapshot(ctx, func(tx pgx.Tx) error {
		// The first statement takes the snapshot; its rows are in the journal by now.
		if _, _, err := s.positions(ctx, tx, ""); err != nil {
			return err
		}
		places, err := since(ctx)
		if err != nil {
			return err
		}
		if err := insertKeys(ctx, tx, "since", append(places, s.excludedRows()...)); err != nil {
			return err
		}
		if d.Live, d.Rows, err = digest(ctx, tx, pg.Live); err == nil {
			d.Shadow, _, err = digest(ctx, tx, next)
		}
		return err
	})
	return d, err
}

// digest digests all rows except those in since, independent of their order: it
// sums the hashes of each table's rows.
func digest(ctx context.Context, tx pgx.Tx, of pg.Schema) (string, int, error) {
	h, total := sha256.New(), 0
	for i := range shadowTables {
		t := &shadowTables[i]
		var sum string
		var n int
		err := tx.QueryRow(ctx, fmt.Sprintf(`
			SELECT count(*), coalesce(sum(hash_record_extended(ROW(t.*), 0)::numeric), 0)::text FROM %s.%s t
			WHERE NOT EXISTS (SELECT FROM agents_next.since c WHERE c.kind = $1 AND %s)`, of, t.name, t.match("t", "c")), t.kind).Scan(&n, &sum)
		if err != nil {
			return "", 0, fmt.Errorf("digest %s.%s: %w", of, t.name, err)
		}
		fmt.Fprintf(h, "%s %d %s\n", t.kind, n, sum)
		total += n
	}
	return hex.EncodeToString(h.Sum(nil)), total, nil
}
