package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// columns are the columns of tables, by table, and their keys: "PRIMARY KEY (a, b)" and
// "UNIQUE (a, b)".
type columns map[string][]string

// errRollback ends a transaction that was only a question.
var errRollback = errors.New("roll back")

// ddl is what the migrations do, in another schema than agents.
func ddl(schema string) (string, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return "", err
	}
	slices.Sort(files)
	var all strings.Builder
	for _, file := range files {
		text, err := migrations.ReadFile(file)
		if err != nil {
			return "", err
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		all.WriteString(strings.ReplaceAll(up, "agents.", schema+"."))
	}
	return all.String(), nil
}

// tableColumns reads the columns and the keys of the tables in a schema; $1 is its oid.
// Without a key, no row can be written in the place of an older one.
const tableColumns = `
	SELECT c.relname::text, array_agg(p.part ORDER BY p.place, p.part) FROM pg_class c, LATERAL (
		SELECT a.attname::text, a.attnum FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		UNION ALL
		SELECT CASE WHEN i.indisprimary THEN 'PRIMARY KEY (' ELSE 'UNIQUE (' END ||
			(SELECT string_agg(a.attname, ', ' ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
				JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum) || ')', 10000
		FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
	) AS p (part, place)
	WHERE c.relnamespace = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition
	GROUP BY c.relname`

func readColumns(ctx context.Context, q Querier, schema string) (columns, error) {
	rows, err := q.Query(ctx, fmt.Sprintf(tableColumns, schema))
	if err != nil {
		return nil, err
	}
	found := columns{}
	var table string
	var names []string
	_, err = pgx.ForEachRow(rows, []any{&table, &names}, func() error {
		found[table] = slices.Clone(names)
		return nil
	})
	return found, err
}

// wantedColumns are the columns of the tables that the migrations make, by making
// temporary ones.
func (d *DB) wantedColumns(ctx context.Context) (wanted columns, err error) {
	if known := d.wanted.Load(); known != nil {
		return *known, nil
	}
	sql, err := ddl("pg_temp")
	if err != nil {
		return nil, err
	}
	err = d.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if wanted, err = readColumns(ctx, tx, "pg_my_temp_schema()"); err != nil {
			return err
		}
		return errRollback
	})
	if !errors.Is(err, errRollback) {
		return nil, fmt.Errorf("make temporary tables to compare with: %w", err)
	}
	d.wanted.Store(&wanted)
	return wanted, nil
}

// Damage lists the tables, columns and keys of the engine's schema that are missing.
func (d *DB) Damage(ctx context.Context) (missing []string, err error) {
	wanted, err := d.wantedColumns(ctx)
	if err != nil {
		if HasSQLState(err, notPermitted) {
			return nil, nil // without the right TEMPORARY nothing is compared
		}
		return nil, err
	}
	found, err := readColumns(ctx, d.pool, "coalesce((SELECT oid FROM pg_namespace WHERE nspname = '"+d.schema+"'), 0)")
	if err != nil {
		return nil, fmt.Errorf("read the tables of the schema %s: %w", d.schema, err)
	}
	if found[versions] == nil { // Migrate makes it again
		missing = append(missing, d.Table(versions))
	}
	for _, table := range slices.Sorted(maps.Keys(wanted)) {
		if found[table] == nil {
			missing = append(missing, d.Table(table))
			continue
		}
		for _, c := range wanted[table] {
			if !slices.Contains(found[table], c) {
				missing = append(missing, d.Table(table)+"."+c)
			}
		}
	}
	return missing, nil
}

// derived are the tables that a view fills from the history: what is wrong with
// them costs nothing but time.
var derived = []string{"claims", "config", "conflicts", "inboxes", "lifecycle", "reminders", "sessions", "state", "tasks", "views"}

// Repair makes the tables again that Damage finds: missing ones, and derived ones
// that lack a column or a key. It resets the position of the view that fills the derived
// ones. Another table gets its key again; it fails for one that lacks a column, because
// its rows are nowhere else.
func (d *DB) Repair(ctx context.Context, view string, log *slog.Logger) error {
	missing, err := d.Damage(ctx)
	if err != nil || len(missing) == 0 {
		return err
	}
	sql, err := ddl("agents_repair")
	if err != nil {
		return err
	}
	err = d.InTx(ctx, func(tx pgx.Tx) error {
		if err := d.LockSchema(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DROP SCHEMA IF EXISTS agents_repair CASCADE; CREATE SCHEMA agents_repair;`+sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		var made []string
		for _, name := range missing {
			table, column, lacks := strings.Cut(strings.TrimPrefix(name, d.Table("")), ".")
			switch {
			case slices.Contains(made, table), table == versions:
				continue
			case lacks && slices.Contains(derived, table):
			case lacks && strings.HasSuffix(column, ")"): // a key
				if _, err := tx.Exec(ctx, `ALTER TABLE agents.`+table+` ADD `+column); err != nil {
					return fmt.Errorf("make %s of %s again: %w", column, d.Table(table), err)
				}
				log.Warn("a key of a table was removed from outside; it is made again", "table", d.Table(table), "key", column)
				continue
			case lacks:
				return fmt.Errorf("%s lacks the column %s: restore it from a backup", d.Table(table), column)
			}
			if err := d.adopt(ctx, tx, table); err != nil {
				return fmt.Errorf("make %s again: %w", d.Table(table), err)
			}
			made = append(made, table)
		}
		var again []string // the views that fill them
		if slices.ContainsFunc(made, func(t string) bool { return slices.Contains(derived, t) }) {
			again = append(again, view)
		}
		if slices.Contains(made, "messages") {
			again = append(again, "messages")
		}
		if _, err := tx.Exec(ctx, `DELETE FROM agents.checkpoints WHERE view = ANY ($1)`, again); err != nil {
			return err
		}
		if len(made) > 0 {
			log.Warn("tables were made again; views fill theirs from the history, rows of other tables are lost", "tables", strings.Join(made, ", "))
		}
		_, err := tx.Exec(ctx, `DROP SCHEMA agents_repair CASCADE`)
		return err
	})
	if err != nil {
		return d.missingRight(fmt.Errorf("repair the schema %s (%s): %w", d.schema, strings.Join(missing, ", "), err))
	}
	return nil
}

// adopt moves a table with its partitions and triggers from the schema
// agents_repair to agents, in the place of one that is there.
func (d *DB) adopt(ctx context.Context, tx pgx.Tx, table string) error {
	if _, err := tx.Exec(ctx, `DROP TABLE IF EXISTS agents.`+table); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT format('ALTER TABLE agents_repair.%I SET SCHEMA agents', c.relname) FROM pg_class c
		WHERE c.relnamespace = 'agents_repair'::regnamespace AND c.relkind IN ('r', 'p')
		AND (c.relname = $1 OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = ('agents_repair.' || $1)::regclass))
		UNION ALL SELECT format('ALTER FUNCTION %s SET SCHEMA agents', t.tgfoid::regprocedure) FROM pg_trigger t
		WHERE t.tgrelid = ('agents_repair.' || $1)::regclass AND NOT t.tgisinternal`, table)
	if err != nil {
		return err
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if function, is := strings.CutPrefix(sql, "ALTER FUNCTION "+d.schema+"_repair."); is {
			name, _, _ := strings.Cut(function, " SET SCHEMA")
			sql = `DROP FUNCTION IF EXISTS agents.` + name + `;` + sql
		}
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}
