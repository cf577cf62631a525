package archive

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
)

// Detach moves the archive of another journal to a new schema, named after that
// journal and the time, and creates an empty archive, which the view fills from
// the start of the journal. It returns the schema's name.
func (a *Archive) Detach(ctx context.Context) (name string, err error) {
	err = a.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, pg.NoTimeouts); err != nil {
			return err
		}
		if err := a.db.LockSchema(ctx, tx); err != nil {
			return err
		}
		var journal string
		err := tx.QueryRow(ctx, `SELECT coalesce(min(incarnation), 'none') FROM agents.checkpoints WHERE view = $1`, a.view).Scan(&journal)
		if err != nil {
			return err
		}
		at := time.Now().UTC().Format("_20060102_150405")
		name = a.db.Schema() + "_of_" + strings.ToLower(journal)
		name = name[:min(len(name), pg.MaxName-len(at))] + at
		schema := pgx.Identifier{name}.Sanitize()
		rows, err := tx.Query(ctx, `SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			WHERE i.inhparent = 'agents.events'::regclass`)
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		var b strings.Builder
		fmt.Fprintf(&b, "CREATE SCHEMA %s;\n", schema)
		for _, t := range append(tables, "events") {
			fmt.Fprintf(&b, "ALTER TABLE agents.%s SET SCHEMA %s;\n", pgx.Identifier{t}.Sanitize(), schema)
		}
		fmt.Fprintf(&b, `
			CREATE TABLE agents.events (LIKE %s.events INCLUDING ALL) PARTITION BY RANGE (recorded_at);
			CREATE TABLE agents.events_before_1970 PARTITION OF agents.events FOR VALUES FROM (MINVALUE) TO ('1970-01-01 00:00:00+00');
			DELETE FROM agents.checkpoints WHERE view = '%s'`, schema, a.view)
		_, err = tx.Exec(ctx, b.String(), pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("detach the archive of the other journal: %w", err)
	}
	return name, nil
}
