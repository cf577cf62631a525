package durable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel"
)

var errColumns = errors.New("the row's columns differ from its text (state_text, body_text)")

// verifyRows is the number of rows that one statement reads, so that no statement
// takes long on a large table.
const verifyRows = 1000

// Rows reads the tables of the durable view row by row, for verify, audit and
// sampling.
type Rows struct{ db *pg.DB }

// NewRows returns the rows in db.
func NewRows(db *pg.DB) Rows { return Rows{db} }

// messageTable is the table of the view messages, which has no shadow.
var messageTable = shadowTable{readmodel.KindMessage, "messages", []string{"sender", "message_id"}}

// EachRow yields every row of the views durable and messages, page by page in key order.
func (d Rows) EachRow(ctx context.Context, yield func(verify.Row)) error {
	for _, t := range append(slices.Clone(shadowTables), messageTable) {
		list := "(" + strings.Join(t.keys, ", ") + ")"
		for where, args := "", []any(nil); ; {
			end, err := d.pageEnd(ctx, &t, where, args)
			if err != nil {
				return fmt.Errorf("read the table %s: %w", t.name, err)
			}
			if end == nil {
				if err := d.rows(ctx, t.kind, where, yield, args...); err != nil {
					return err
				}
				break
			}
			upTo, and := list+" <= "+placeholders(len(args), end), " WHERE "
			if where != "" {
				and = where + " AND "
			}
			if err := d.rows(ctx, t.kind, and+upTo, yield, append(args, end...)...); err != nil {
				return err
			}
			where, args = " WHERE "+list+" > "+placeholders(0, end), end
		}
	}
	return nil
}

// pageEnd returns the key of a page's last row; nil when fewer rows than a page
// are left.
func (d Rows) pageEnd(ctx context.Context, t *shadowTable, where string, args []any) (end []any, err error) {
	list := strings.Join(t.keys, ", ")
	rows, err := d.db.Pool().Query(ctx, fmt.Sprintf(`SELECT %[1]s FROM agents.%[2]s%[3]s ORDER BY %[1]s OFFSET %[4]d LIMIT 1`,
		list, t.name, where, verifyRows-1), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if rows.Next() {
		if end, err = rows.Values(); err != nil {
			return nil, err
		}
	}
	return end, rows.Err()
}

// placeholders returns the row of placeholders for a key after a number of
// arguments, such as ($3, $4).
func placeholders(before int, key []any) string {
	of := make([]string, len(key))
	for i := range key {
		of[i] = fmt.Sprintf("$%d", before+i+1)
	}
	return "(" + strings.Join(of, ", ") + ")"
}

// RowOf yields the rows of one aggregate.
func (d Rows) RowOf(ctx context.Context, s events.AggregateName, yield func(verify.Row)) error {
	kind, id, key := readmodel.RowOf(s)
	if kind == "" {
		return nil
	}
	t := tables[kind]
	return d.rows(ctx, kind, ` WHERE `+t.id+` = $1 AND `+t.key+` = $2`, yield, id, key)
}

// rows yields the rows of a kind that match a condition, "" = all. When the text
// of a row is not JSON, it reads the rows again and checks each separately.
func (d Rows) rows(ctx context.Context, kind, where string, yield func(verify.Row), args ...any) error {
	if kind == readmodel.KindConflict {
		return d.eachConflict(ctx, where, yield, args...)
	}
	each, same, text := d.eachDoc, docTables[kind].same, "state_text"
	switch kind {
	case readmodel.KindEntry:
		each, same = d.eachEntry, "state_value = s"
	case readmodel.KindMessage:
		each, same, text = d.eachMessage, "body = s", "body_text"
	}
	table := tables[kind].name
	q := rowQuery{kind, same, "(SELECT *, " + text + "::jsonb AS s FROM " + table + ") AS t" + where, args}
	err := each(ctx, d.db.Pool(), q, yield)
	if broken := new(pgconn.PgError); !errors.As(err, &broken) || !strings.HasPrefix(broken.Code, pg.DataException) {
		return err
	}
	return d.db.InTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			CREATE OR REPLACE FUNCTION pg_temp.tidemark_same(r `+table+`) RETURNS boolean LANGUAGE plpgsql AS $f$
			BEGIN
				RETURN (SELECT `+same+` FROM (SELECT r.*, r.`+text+`::jsonb AS s) AS t);
			EXCEPTION WHEN data_exception THEN
				RETURN false;
			END $f$`)
		if err != nil {
			return fmt.Errorf("prepare to read %s: %w", table, err)
		}
		q.same, q.from = "pg_temp.tidemark_same(t)", table+" AS t"+where
		return each(ctx, tx, q, yield)
	})
}

// rowQuery reads rows of a kind. same is the SQL condition that the columns match
// the text; args belong to from.
type rowQuery struct {
	kind, same, from string
	args             []any
}

func (d Rows) eachEntry(ctx context.Context, db pg.Querier, q rowQuery, yield func(verify.Row)) error {
	rows, err := db.Query(ctx, `
		SELECT agent_id, state_key, state_text, `+q.same+`, version, revision, timestamp, timestamp_ns, digest FROM `+q.from, q.args...)
	if err != nil {
		return fmt.Errorf("read the table state: %w", err)
	}
	defer rows.Close()
	var e readmodel.Entry
	var same pgtype.Bool
	var nanos int16
	for rows.Next() {
		if err := rows.Scan(&e.Agent, &e.Key, (*[]byte)(&e.Value), &same, &e.Version, &e.Revision, &e.Timestamp, &nanos, &e.Digest); err != nil {
			return fmt.Errorf("read the table state: %w", err)
		}
		e.Timestamp = e.Timestamp.Add(time.Duration(nanos)).UTC()
		r := verify.EntryRow(&e)
		if !same.Valid || !same.Bool {
			r.Bad = errColumns
		}
		yield(r)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the table state: %w", err)
	}
	return nil
}

// eachMessage leaves out messages of builds that kept no events of them.
func (d Rows) eachMessage(ctx context.Context, db pg.Querier, q rowQuery, yield func(verify.Row)) error {
	rows, err := db.Query(ctx, `
		SELECT sender, message_id, kind, coalesce(recipient, ''), coalesce(type, ''), body_text, `+q.same+`, sequence, sent_at, digest FROM `+q.from, q.args...)
	if err != nil {
		return fmt.Errorf("read the table messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var m readmodel.Message
		var text string
		var same *bool
		var digest *string
		if err := rows.Scan(&m.From, &m.ID, &m.Kind, &m.To, &m.Type, &text, &same, &m.Sequence, &m.SentAt, &digest); err != nil {
			return fmt.Errorf("read the table messages: %w", err)
		}
		if digest == nil {
			continue
		}
		m.Body, m.Digest, m.SentAt = []byte(text), *digest, m.SentAt.UTC()
		r := verify.MessageRow(&m)
		if same == nil || !*same {
			r.Bad = errColumns
		}
		yield(r)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the table messages: %w", err)
	}
	return nil
}

func (d Rows) eachDoc(ctx context.Context, db pg.Querier, q rowQuery, yield func(verify.Row)) error {
	t := docTables[q.kind]
	rows, err := db.Query(ctx, `SELECT `+t.id+`, `+t.key+`, state_text, version, revision, updated_at, digest, `+q.same+` FROM `+q.from, q.args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.table, err)
	}
	defer rows.Close()
	for rows.Next() {
		doc := readmodel.Doc{Kind: q.kind}
		var text string
		var same *bool
		if err := rows.Scan(&doc.ID, &doc.Key, &text, &doc.Version, &doc.Revision, &doc.UpdatedAt, &doc.Digest, &same); err != nil {
			return fmt.Errorf("read %s: %w", t.table, err)
		}
		doc.State = []byte(text)
		r := verify.DocRow(&doc)
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

func (d Rows) eachConflict(ctx context.Context, where string, yield func(verify.Row), args ...any) error {
	rows, err := d.db.Pool().Query(ctx, `
		SELECT agent_id, state_key, version, revision, kind, verb, strategy, coalesce(reason, ''), state_text,
			timestamp, recorded_at, writer, command_id, current_version, current_revision, digest
		FROM agents.conflicts`+where+` ORDER BY agent_id, state_key, version`, args...)
	if err != nil {
		return fmt.Errorf("read the table conflicts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l readmodel.Loss
		var text *string
		var at, recorded time.Time
		if err := rows.Scan(&l.Agent, &l.Key, &l.Version, &l.Revision, &l.Kind, &l.Verb, &l.Strategy, &l.Reason, &text,
			&at, &recorded, &l.Writer, &l.CommandID, &l.CurrentVersion, &l.CurrentRevision, &l.Digest); err != nil {
			return fmt.Errorf("read the table conflicts: %w", err)
		}
		l.Timestamp, l.RecordedAt = at.UTC(), recorded.UTC()
		if text != nil {
			l.Value = []byte(*text)
		}
		yield(verify.LossRow(&l))
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the table conflicts: %w", err)
	}
	return nil
}
