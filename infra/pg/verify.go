package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// errColumns: a row's columns differ from its text.
var errColumns = errors.New("the row's columns are not what its state_text says")

// EachRow yields every row that the durable view keeps.
func (d *DB) EachRow(ctx context.Context, yield func(projections.Row)) error {
	err := d.EachEntry(ctx, func(e readmodel.Entry, bad error) {
		r := projections.EntryRow(&e)
		r.Bad = bad
		yield(r)
	})
	if err != nil {
		return err
	}
	for kind := range docTables {
		if err := d.eachDoc(ctx, kind, yield); err != nil {
			return err
		}
	}
	return d.eachLoss(ctx, yield)
}

func (d *DB) eachDoc(ctx context.Context, kind string, yield func(projections.Row)) error {
	t := docTables[kind]
	rows, err := d.pool.Query(ctx, `SELECT `+t.id+`, `+t.key+`, state_text, version, revision, updated_at, digest, `+t.same+`
		FROM (SELECT *, state_text::jsonb AS s FROM `+t.table+`) AS t`)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.table, err)
	}
	defer rows.Close()
	for rows.Next() {
		doc := readmodel.Doc{Kind: kind}
		var text string
		var same *bool
		if err := rows.Scan(&doc.ID, &doc.Key, &text, &doc.Version, &doc.Revision, &doc.UpdatedAt, &doc.Digest, &same); err != nil {
			return fmt.Errorf("read %s: %w", t.table, err)
		}
		doc.State = []byte(text)
		r := projections.DocRow(&doc)
		if same == nil || !*same {
			r.Bad = errColumns
		}
		yield(r)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", t.table, err)
	}
	return nil
}

func (d *DB) eachLoss(ctx context.Context, yield func(projections.Row)) error {
	rows, err := d.pool.Query(ctx, `
		SELECT agent_id, state_key, version, revision, kind, verb, strategy, coalesce(reason, ''), state_text,
			timestamp, recorded_at, writer, command_id, current_version, current_revision, digest
		FROM agents.conflicts ORDER BY agent_id, state_key, version`)
	if err != nil {
		return fmt.Errorf("read agents.conflicts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l readmodel.Loss
		var text *string
		var at, recorded time.Time
		if err := rows.Scan(&l.Agent, &l.Key, &l.Version, &l.Revision, &l.Kind, &l.Verb, &l.Strategy, &l.Reason, &text,
			&at, &recorded, &l.Writer, &l.CommandID, &l.CurrentVersion, &l.CurrentRevision, &l.Digest); err != nil {
			return fmt.Errorf("read agents.conflicts: %w", err)
		}
		l.Timestamp, l.RecordedAt = at.UTC(), recorded.UTC()
		if text != nil {
			l.Value = []byte(*text)
		}
		yield(projections.LossRow(&l))
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read agents.conflicts: %w", err)
	}
	return nil
}
