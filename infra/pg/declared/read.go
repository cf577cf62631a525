package declared

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// utc shows a time as Go does in RFC 3339, with the digits that it has.
const utc = `rtrim(rtrim(to_char(%[1]s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '0'), '.') || 'Z' AS %[1]s`

// rowJSON selects rows as readers see them: key, then the row as a JSON object.
func rowJSON(d *view.Definition, table, where string) string {
	columns := column(view.KeyColumn)
	for _, name := range d.Output() {
		shown := column(name)
		if c, ok := d.Shown(name); ok && c.Type == view.Timestamptz {
			shown = fmt.Sprintf(utc, shown)
		}
		columns += ", " + shown
	}
	return "SELECT key, row_to_json(r)::text FROM (SELECT " + columns + " FROM " + table + where + ") AS r"
}

func scanRow(r pgx.CollectableRow) (row readmodel.DeclaredRow, err error) {
	var text string
	err = r.Scan(&row.Key, &text)
	row.JSON = []byte(text)
	return row, err
}

// Live returns the live generation of a view; nil = there is none.
func (s *Store) Live(ctx context.Context, name string) (*Generation, error) {
	gs, err := readGenerations(ctx, s.db.Pool(), ` WHERE view = $1 AND live`, name)
	if err != nil || len(gs) == 0 {
		return nil, err
	}
	return &gs[0], nil
}

// read runs a query on the table of a live view in one snapshot with its definition, and
// again when a new generation has taken its place meanwhile. It reports whether the view
// is there.
func (s *Store) read(ctx context.Context, name string, query func(pgx.Tx, *Generation) error) (bool, error) {
	found := false
	once := func() error {
		return pgx.BeginTxFunc(ctx, s.db.Pool(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			gs, err := readGenerations(ctx, tx, ` WHERE view = $1 AND live`, name)
			if found = len(gs) > 0; err != nil || !found {
				return err
			}
			return query(tx, &gs[0])
		})
	}
	for tries := 0; ; tries++ {
		err := once()
		if tries < 3 && (pg.HasSQLState(err, "42P01") || pg.HasSQLState(err, "42703") || pg.HasSQLState(err, "0A000")) { // table, column, changed plan
			continue
		}
		return found, err
	}
}

// Row returns a row of a live view, of the definition d; nil = there is none. known is false when the view has
// no live generation.
func (s *Store) Row(ctx context.Context, d view.Definition, key string) (row []byte, known bool, err error) {
	known, err = s.read(ctx, d.Name, func(tx pgx.Tx, g *Generation) error {
		if !g.Definition.Equal(d) {
			return readmodel.ErrDeclaredChanged
		}
		rows, err := tx.Query(ctx, rowJSON(&g.Definition, g.table(), " WHERE key = $1"), key)
		if err != nil {
			return err
		}
		got, err := pgx.CollectExactlyOneRow(rows, scanRow)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		row = got.JSON
		return err
	})
	if err != nil {
		err = fmt.Errorf("read the view %s: %w", d.Name, err)
	}
	return row, known, err
}

// List returns rows of a live view, of the definition d, in the order of their keys, after one and as far as a
// page has room.
func (s *Store) List(ctx context.Context, d view.Definition, list readmodel.DeclaredList) (page []readmodel.DeclaredRow, known bool, err error) {
	known, err = s.read(ctx, d.Name, func(tx pgx.Tx, g *Generation) error {
		if !g.Definition.Equal(d) {
			return readmodel.ErrDeclaredChanged
		}
		where, args := " WHERE key > $1", []any{list.After}
		for _, e := range list.Where {
			if e.Value == nil {
				where += " AND " + column(e.Column) + " IS NULL"
				continue
			}
			args = append(args, *e.Value)
			where += fmt.Sprintf(" AND %s = $%d::text::%s", column(e.Column), len(args), e.Type)
		}
		where += fmt.Sprintf(" ORDER BY key LIMIT %d", list.Limit)
		rows, err := tx.Query(ctx, rowJSON(&g.Definition, g.table(), where)+" ORDER BY key", args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		page = page[:0]
		var room readmodel.PageRoom
		for rows.Next() {
			row, err := scanRow(rows)
			if err != nil {
				return err
			}
			if page = append(page, row); room.Add(len(row.JSON)) {
				return nil
			}
		}
		return rows.Err()
	})
	if err != nil {
		err = fmt.Errorf("list the view %s: %w", d.Name, err)
	}
	return page, known, err
}

// Count returns the number of rows of a live view.
func (s *Store) Count(ctx context.Context, name string) (n int64, err error) {
	err = s.db.Pool().QueryRow(ctx, "SELECT count(*) FROM "+liveTable(name)).Scan(&n)
	if err != nil {
		err = fmt.Errorf("count the rows of view %s: %w", name, err)
	}
	return n, err
}

// Tables are the names of all tables of declared views in the schema agents, unquoted.
func (s *Store) Tables(ctx context.Context) ([]string, error) {
	gs, err := s.All(ctx)
	if err != nil {
		return nil, err
	}
	var all []string
	for i := range gs {
		all = append(all, strings.TrimPrefix(gs[i].table(), string(pg.Live)+"."))
		if gs[i].Definition.Group != nil {
			all = append(all, strings.TrimPrefix(gs[i].entries(), string(pg.Live)+"."))
		}
	}
	return all, nil
}
