package pg_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/internal/contract"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// own are the tables that only the engine uses.
var own = map[string]bool{"leases": true, "declared_generations": true, "declared_pending": true, "removed": true, "tidemark_schema": true}

// The tables of a migrated database are those that the contract declares, column by column.
func TestTablesAreDeclared(t *testing.T) {
	url := support.Postgres(t)
	db, err := pg.Open(url)
	harness.Must(t, err)
	defer db.Close()
	harness.Must(t, db.Migrate(t.Context(), harness.Log(t)))
	conn, err := pgx.Connect(t.Context(), url)
	harness.Must(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'agents' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY c.relname, a.attnum`)
	harness.Must(t, err)
	actual := map[string]map[string]string{}
	var table, column, typ string
	var notNull bool
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &typ, &notNull}, func() error {
		if actual[table] == nil {
			actual[table] = map[string]string{}
		}
		actual[table][column] = strings.NewReplacer("timestamp with time zone", "timestamptz", "double precision", "double").Replace(typ)
		if notNull {
			actual[table][column] += " not null"
		}
		return nil
	})
	harness.Must(t, err)
	for name, columns := range actual {
		if own[name] {
			continue
		}
		declared, ok := contract.Tables[name]
		if !ok {
			t.Errorf("agents.%s is not declared", name)
			continue
		}
		for _, f := range contract.Shape(declared.Columns) {
			want := f.Type
			if f.Required {
				want += " not null"
			}
			if got := columns[f.Name]; got != want {
				t.Errorf("agents.%s.%s is %q, and declared as %q", name, f.Name, got, want)
			}
			delete(columns, f.Name)
		}
		for column := range columns {
			t.Errorf("agents.%s.%s is not declared", name, column)
		}
	}
	for name := range contract.Tables {
		if actual[name] == nil {
			t.Errorf("there is no table agents.%s", name)
		}
	}
}
