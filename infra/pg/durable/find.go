package durable

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Find returns a page of entries by content. It fails with 400 path.invalid and
// text.invalid, and with 503 search.slow when ctx leaves too little time.
func (t *View) Find(ctx context.Context, find readmodel.EntryFind) (page []readmodel.Entry, err error) {
	err = pgx.BeginTxFunc(ctx, t.db.Pool(), pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if deadline, ok := ctx.Deadline(); ok { // the server ends the search with the request
			ms := max(1, time.Until(deadline).Milliseconds()-50)
			if _, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', $1, true)`, fmt.Sprint(ms)); err != nil {
				return err
			}
		}
		filter, err := checkFind(ctx, tx, &find)
		if err != nil {
			return err
		}
		sql, args := findStatement(&find, filter)
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		page, err = collectPage(rows, func(e *readmodel.Entry) int { return len(e.Value) }, scanFound)
		return err
	})
	var refused *domain.Error
	switch {
	case err == nil:
		return page, nil
	case errors.As(err, &refused):
		return nil, refused
	case pg.HasSQLState(err, "57014"), ctx.Err() != nil: // query_canceled
		return nil, domain.Errorf(domain.Unavailable, "search.slow", "the search took too long: narrow it with agent_prefix, key or key_prefix, or allow more time with wait_ms")
	}
	return nil, fmt.Errorf("find entries: %w", err)
}

func scanFound(r pgx.CollectableRow) (e readmodel.Entry, err error) {
	var text string
	var nanos int16
	err = r.Scan(&e.Agent, &e.Key, &text, &e.Version, &e.Revision, &e.Writer, &e.Timestamp, &nanos, &e.UpdatedAt, &e.Digest)
	e.Value = []byte(text)
	e.Timestamp, e.UpdatedAt = e.Timestamp.Add(time.Duration(nanos)).UTC(), e.UpdatedAt.UTC()
	return e, err
}

// checkFind has the server read path and text. filter = the path selects items, with a
// filter expression, rather than being a predicate.
func checkFind(ctx context.Context, tx pgx.Tx, find *readmodel.EntryFind) (filter bool, err error) {
	if find.Path != "" {
		var read string
		err := tx.QueryRow(ctx, `SELECT $1::text::jsonpath::text`, find.Path).Scan(&read)
		var unreadable *pgconn.PgError
		if errors.As(err, &unreadable) && (strings.HasPrefix(unreadable.Code, pg.DataException) || unreadable.Code == "42601") { // syntax_error
			return false, domain.Errorf(domain.Invalid, "path.invalid", "%.200q is no SQL/JSON path: %s", find.Path, unreadable.Message)
		}
		if err != nil {
			return false, err
		}
		filter = strings.Contains(read, "?(") && (strings.HasPrefix(read, "$") || strings.HasPrefix(read, "strict $"))
	}
	if find.Text != "" {
		var words int
		if err := tx.QueryRow(ctx, `SELECT numnode(websearch_to_tsquery('simple', $1))`, find.Text).Scan(&words); err != nil {
			return false, err
		}
		if words == 0 {
			return false, domain.Errorf(domain.Invalid, "text.invalid", "%.200q has no word", find.Text)
		}
	}
	return filter, nil
}

// findStatement sorts by expressions that no index has, so that the server does not walk
// the primary key in the hope of a match.
func findStatement(find *readmodel.EntryFind, filter bool) (sql string, args []any) {
	var b strings.Builder
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprint("$", len(args))
	}
	b.WriteString(`SELECT agent_id, state_key, state_text, version, revision, writer, timestamp, timestamp_ns, updated_at, digest
		FROM agents.state WHERE true`)
	and := func(format string, values ...any) {
		names := make([]any, len(values))
		for i, v := range values {
			names[i] = arg(v)
		}
		fmt.Fprintf(&b, "\n\t\t\tAND "+format, names...)
	}
	if searched := searchedKeys(find.In); searched != "" {
		b.WriteString("\n\t\t\tAND " + searched)
	}
	if find.AfterAgent != "" {
		and(`(agent_id, state_key) > (%s, %s)`, find.AfterAgent, find.AfterKey)
	}
	if find.AgentPrefix != "" {
		and(`agent_id >= %[1]s AND starts_with(agent_id, %[1]s)`, find.AgentPrefix)
	}
	if find.Agents != nil {
		and(`agent_id LIKE ANY (%s)`, like(find.Agents))
	}
	if find.Key != "" {
		and(`state_key = %s`, find.Key)
	}
	if find.KeyPrefix != "" {
		and(`state_key >= %[1]s AND starts_with(state_key, %[1]s)`, find.KeyPrefix)
	}
	if find.Contains != nil {
		and(`state_value @> %s::text::jsonb`, string(find.Contains))
	}
	if find.Path != "" {
		operator := map[bool]string{true: "@?", false: "@@"}[filter]
		and(`state_value `+operator+` %s::text::jsonpath`, find.Path)
	}
	if find.Text != "" {
		and(searchedText+` @@ websearch_to_tsquery('simple', %s)`, find.Text)
	}
	fmt.Fprintf(&b, "\n\t\tORDER BY agent_id || '', state_key || '' LIMIT %s", arg(find.Limit))
	return b.String(), args
}
