package query

import (
	"context"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/declared"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// DeclaredViews are the declared views in SQL.
type DeclaredViews interface {
	// Declared returns the definition of a view that is defined; ok is false if there is none.
	Declared(ctx context.Context, name string) (d view.Definition, ok bool, err error)
	// Built waits until readers see the view with its first rows, and returns its progress
	// and the definition that its rows have, which may be an earlier one. Fails with 503
	// read.behind when ctx ends before.
	Built(ctx context.Context, name string) (tiers.Progress, view.Definition, error)
	// Row and List read rows of a definition; readmodel.ErrDeclaredChanged when another one
	// has taken its place.
	Row(ctx context.Context, d view.Definition, key string) (row []byte, known bool, err error)
	List(ctx context.Context, d view.Definition, list readmodel.DeclaredList) (rows []readmodel.DeclaredRow, known bool, err error)
}

// declaredView checks that the sender may read a view and waits until its rows are as new
// as the request wants.
func (q *Query) declaredView(ctx context.Context, name string, in *request) (d view.Definition, token string, err error) {
	if q.Declared == nil {
		if err := in.permission.shows(ctx, name, nil, false); err != nil {
			return d, "", err
		}
		return d, "", sqlOff()
	}
	d, ok, err := q.Declared.Declared(ctx, name)
	if err != nil {
		return d, "", tiers.Unavailable("journal", err)
	}
	if err := in.permission.shows(ctx, name, &d, ok); err != nil {
		return d, "", err
	}
	if !ok {
		return d, "", unknownView(name)
	}
	t, err := q.token(in)
	if err != nil {
		return d, "", err
	}
	waiting, cancel := context.WithTimeout(ctx, in.wait())
	defer cancel()
	progress, shown, err := q.Declared.Built(waiting, name)
	if err != nil {
		return d, "", err
	}
	if err := in.permission.shows(ctx, name, &shown, true); err != nil {
		return d, "", err
	}
	at := domain.Token{Journal: q.Rows.Incarnation(), Positions: map[int]uint64{}}
	for p := range q.Rows.Partitions() {
		if err := tiers.Reach(waiting, tiers.FromSQL, progress, p, max(t.Positions[p], q.acknowledged(p))); err != nil {
			return d, "", err
		}
		at.Positions[p] = progress.At(p)
	}
	return shown, at.String(), nil
}

// permitView decides about the rows of a view before the body of the query is read.
func (q *Query) permitView(ctx context.Context, p *permission, query, name string) error {
	switch {
	case p.set.Unrestricted() || query != "view.get" && query != "view.list":
		return nil
	case q.Declared == nil:
		return p.shows(ctx, name, nil, false)
	}
	d, ok, err := q.Declared.Declared(ctx, name)
	if err != nil {
		return tiers.Unavailable("journal", err)
	}
	return p.shows(ctx, name, &d, ok)
}

// shows refuses a view of rows that the sender may not read. A sender that may not read
// definitions must not learn which views there are: it is refused in the same way where there
// is none.
func (p *permission) shows(ctx context.Context, name string, d *view.Definition, exists bool) error {
	if p.set.Unrestricted() {
		return nil
	}
	shown, missing := exists, grants.Grant{}
	if exists {
		shown, missing = p.set.Shows(grants.Rows{From: d.From, Agents: d.Agents, Keys: d.Keys})
	}
	defines, unread := p.set.Allows(grants.Action{Kind: grants.Query, Aggregate: "view", ID: name, Verb: "definition"})
	switch {
	case shown || defines && !exists:
		return nil
	case defines:
		return p.Refuse(ctx, missing)
	}
	return p.Refuse(ctx, unread)
}

func unknownView(name string) error {
	return domain.Errorf(domain.NotFound, "view.not_found", "there is no view %s: engine view list", name)
}

func (q *Query) viewGet(ctx context.Context, name string, in *request) ([]byte, error) {
	if in.Key == nil {
		return nil, domain.MissingField("key")
	}
	if *in.Key == "" {
		return nil, domain.CheckKey("")
	}
	d, token, err := q.declaredView(ctx, name, in)
	if err != nil {
		return nil, err
	}
	row, known, err := q.Declared.Row(ctx, d, *in.Key)
	switch {
	case errors.Is(err, readmodel.ErrDeclaredChanged):
		return q.viewGet(ctx, name, in) // the sender's rights to the new rows are checked again
	case err != nil:
		return nil, tiers.Unavailable("sql", err)
	case !known:
		return nil, unknownView(name)
	case row == nil:
		return nil, domain.Errorf(domain.NotFound, "view.row_not_found", "view %s has no row %.300q", name, *in.Key)
	}
	b := append(make([]byte, 0, 256+len(row)), `{"row":`...)
	return closeAnswer(append(b, row...), tiers.FromSQL, token), nil
}

func (q *Query) viewList(ctx context.Context, name string, in *request) (*page, error) {
	d, token, err := q.declaredView(ctx, name, in)
	if err != nil {
		return nil, err
	}
	where, err := conditions(&d, in.Where)
	if err != nil {
		return nil, err
	}
	if len(in.Cursor) > domain.MaxID+1+domain.MaxKey || strings.ContainsRune(in.Cursor, 0) {
		return nil, badCursor(in.Cursor)
	}
	rows, known, err := q.Declared.List(ctx, d, readmodel.DeclaredList{Where: where, After: in.Cursor, Limit: in.limit + 1})
	switch {
	case errors.Is(err, readmodel.ErrDeclaredChanged):
		return q.viewList(ctx, name, in)
	case err != nil:
		return nil, tiers.Unavailable("sql", err)
	case !known:
		return nil, unknownView(name)
	}
	rows, cursor := paginate(rows, in.limit, func(r *readmodel.DeclaredRow) (string, int) { return r.Key, len(r.JSON) })
	b := encodeRows("rows", 192, rows, func(b []byte, r *readmodel.DeclaredRow) []byte { return append(b, r.JSON[1:len(r.JSON)-1]...) })
	return &page{rows: b, source: tiers.FromSQL, cursor: cursor, token: token}, nil
}

// conditions reads the member where: 400 where.unknown_column, where.invalid.
func conditions(d *view.Definition, where jsontext.Value) ([]readmodel.ColumnEquals, error) {
	if len(where) == 0 {
		return nil, nil
	}
	var values map[string]jsontext.Value
	if err := json.Unmarshal(where, &values); err != nil || values == nil {
		return nil, domain.Errorf(domain.Invalid, "where.invalid", `where must be an object like {"city":"Rome"}`)
	}
	types := map[string]string{view.KeyColumn: view.Text}
	known := []string{view.KeyColumn}
	for _, name := range d.Output() {
		c, ok := d.Shown(name)
		if types[name] = view.Numeric; ok {
			types[name] = c.Type
		}
		known = append(known, name)
	}
	all := make([]readmodel.ColumnEquals, 0, len(values))
	for name, v := range values {
		typ, ok := types[name]
		if !ok {
			return nil, domain.Errorf(domain.Invalid, "where.unknown_column", "view %s has no column %.64q: there are %s", d.Name, name, strings.Join(known, ", ")).With("column", name)
		}
		e := readmodel.ColumnEquals{Column: name, Type: typ}
		if e.Value = declared.Value(typ, v, false); e.Value == nil && v.Kind() != 'n' || strings.Contains(deref(e.Value), "\x00") {
			return nil, domain.Errorf(domain.Invalid, "where.invalid", "column %s is %s, and %.64s is not", name, typ, v).With("column", name)
		}
		all = append(all, e)
	}
	return all, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
