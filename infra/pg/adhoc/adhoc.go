// Package adhoc runs the SQL of people: one statement, as a role that can only read the read
// model, in a transaction that can only read, with bounds on its time, its rows and its bytes.
package adhoc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidemark-engine/tidemark/infra/pg"
)

// Bounds of a statement.
const (
	timeout  = 5 * time.Second
	maxRows  = 500
	maxBytes = 4 << 20 // of all rows, and of one
	maxSQL   = 64 << 10
	connect  = 3 * time.Second
)

// hidden are the tables that are no read model: who did what, what applications and clients
// have sent, and what could not be processed.
var hidden = []string{"audit", "outbox", "dead_letters", "tidemark_schema"}

// Reader runs statements on a database.
type Reader struct {
	owner  *pg.DB // grants; it owns the tables
	config *pgx.ConnConfig
}

// New makes a reader. url has the login of the role that reads; owner is the engine's pool,
// which grants it the read model.
func New(owner *pg.DB, url string) (*Reader, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the URL of the role that reads is not readable")
	}
	cfg.ConnectTimeout = connect
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(r, w)
		f.SetMaxBodyLen(maxBytes)
		return f
	}
	return &Reader{owner, cfg}, nil
}

// Column of a result.
type Column struct{ Name, Type string }

// Result of a statement.
type Result struct {
	Columns []Column
	Rows    [][]*string // as text; nil = null
	More    bool        // there were more rows, or more bytes, than the bounds allow
	Took    time.Duration
}

// Run runs one statement. Its error is of the statement, in the words of PostgreSQL, or says
// why none can be run.
func (r *Reader) Run(ctx context.Context, sql string) (*Result, error) {
	if len(sql) > maxSQL {
		return nil, fmt.Errorf("the statement has %d bytes, at most %d are accepted", len(sql), maxSQL)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+connect)
	defer cancel()
	if err := r.grant(ctx); err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, r.config)
	if err != nil {
		return nil, fmt.Errorf("the role %s cannot log in; the engine's log says more", r.config.User)
	}
	defer conn.Close(context.WithoutCancel(ctx)) // no session is used twice: what a statement sets ends with it
	if err := r.prepare(ctx, conn); err != nil {
		return nil, err
	}
	began := time.Now()
	// The extended protocol takes one statement.
	rows := conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil)
	done := read(rows, conn.TypeMap())
	done.Took = time.Since(began)
	if done.More { // the rest is not awaited
		return done, nil
	}
	if _, err := rows.Close(); err != nil {
		return nil, readable(err)
	}
	return done, nil
}

// prepare makes the session one that only reads, and refuses a role that could do more.
func (r *Reader) prepare(ctx context.Context, conn *pgx.Conn) error {
	for _, sql := range []string{
		fmt.Sprintf(`SET statement_timeout = %d`, timeout.Milliseconds()), `SET lock_timeout = '1s'`,
		`SET idle_in_transaction_session_timeout = '10s'`, `SET timezone = 'UTC'`, `SET jit = off`, `SET max_parallel_workers_per_gather = 0`,
		`SET search_path = ` + pgx.Identifier{r.owner.Schema()}.Sanitize(), `SET default_transaction_read_only = on`,
	} {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("prepare the session: %w", err)
		}
	}
	var writes bool
	err := conn.QueryRow(ctx, `
		SELECT rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls
			OR EXISTS (SELECT FROM pg_roles other WHERE pg_has_role(other.oid, 'MEMBER') AND other.rolname IN
				('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', 'pg_signal_backend', 'pg_write_all_data', 'pg_read_all_data'))
			OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
				WHERE nspname = $1 AND relkind IN ('r', 'p', 'v') AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))
			OR has_schema_privilege($1, 'CREATE')
		FROM pg_roles WHERE rolname = current_user`, r.owner.Schema()).Scan(&writes)
	if err != nil {
		return fmt.Errorf("look at the rights of the role: %w", err)
	}
	if writes {
		return fmt.Errorf("the role %s has more rights than to read: it is not used. Make one of its own (docs/howto/console-operations.md)", r.config.User)
	}
	_, err = conn.Exec(ctx, `BEGIN READ ONLY`, pgx.QueryExecModeSimpleProtocol)
	return err
}

// read reads the columns, and rows up to the bounds.
func read(rows *pgconn.ResultReader, types *pgtype.Map) *Result {
	done := &Result{Rows: [][]*string{}}
	for bytes := 0; rows.NextRow(); {
		if len(done.Rows) == maxRows || bytes > maxBytes {
			done.More = true
			break
		}
		values := rows.Values()
		row := make([]*string, len(values))
		for i, v := range values {
			if bytes += len(v); v != nil {
				text := string(v)
				row[i] = &text
			}
		}
		done.Rows = append(done.Rows, row)
	}
	for _, f := range rows.FieldDescriptions() {
		name := "oid " + fmt.Sprint(f.DataTypeOID)
		if t, ok := types.TypeForOID(f.DataTypeOID); ok {
			name = t.Name
		}
		done.Columns = append(done.Columns, Column{f.Name, name})
	}
	return done
}

// readable is an error without what a client may not know.
func readable(err error) error {
	var pgErr *pgconn.PgError
	var large *pgproto3.ExceededMaxBodyLenErr
	switch {
	case errors.As(err, &pgErr):
		text := pgErr.Message
		if pgErr.Hint != "" {
			text += " (" + pgErr.Hint + ")"
		}
		return fmt.Errorf("%s (SQLSTATE %s)", text, pgErr.Code)
	case errors.As(err, &large):
		return fmt.Errorf("a row has more than %d MiB", maxBytes>>20)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the statement took longer than %s", timeout)
	}
	return errors.New("the connection to PostgreSQL broke")
}

// grant gives the role what it may read and has not yet: tables of declared views come and go.
func (r *Reader) grant(ctx context.Context) error {
	rows, err := r.owner.Pool().Query(ctx, `
		SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, $2::text) FROM pg_namespace
			WHERE nspname = $1 AND NOT has_schema_privilege($2, oid, 'USAGE')
		UNION ALL
		SELECT format('GRANT SELECT ON %I.%I TO %I', nspname, relname, $2::text)
			FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
			WHERE nspname = $1 AND relkind IN ('r', 'p', 'v') AND NOT relispartition AND relname <> ALL($3) AND NOT has_table_privilege($2, c.oid, 'SELECT')`,
		r.owner.Schema(), r.config.User, hidden)
	if err == nil {
		var grants []string
		if grants, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil {
			err = r.run(ctx, grants)
		}
	}
	if err != nil {
		return fmt.Errorf("grant the read model to the role %s: %w", r.config.User, readable(err))
	}
	return nil
}

// run runs statements that grant rights.
func (r *Reader) run(ctx context.Context, grants []string) error {
	if len(grants) == 0 {
		return nil
	}
	return r.owner.InTx(ctx, func(tx pgx.Tx) error {
		if err := r.owner.LockSchema(ctx, tx); err != nil {
			return err
		}
		for _, sql := range grants {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// Table of the read model.
type Table struct {
	Name    string
	Rows    int64 // estimate of the planner
	Columns []Column
}

// Tables are the tables that a statement can read, with their columns.
func (r *Reader) Tables(ctx context.Context) ([]Table, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rows, err := r.owner.Pool().Query(ctx, `
		SELECT relname, greatest(reltuples, 0)::bigint, attname, format_type(atttypid, atttypmod)
		FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute a ON attrelid = c.oid
		WHERE nspname = $1 AND relkind IN ('r', 'p', 'v') AND NOT relispartition AND attnum > 0 AND NOT attisdropped AND relname <> ALL($2)
		ORDER BY relname, attnum LIMIT 5000`, r.owner.Schema(), hidden)
	if err != nil {
		return nil, readable(err)
	}
	defer rows.Close()
	var all []Table
	for rows.Next() {
		var t Table
		var c Column
		if err := rows.Scan(&t.Name, &t.Rows, &c.Name, &c.Type); err != nil {
			return nil, err
		}
		if n := len(all); n == 0 || all[n-1].Name != t.Name {
			all = append(all, t)
		}
		last := &all[len(all)-1]
		last.Columns = append(last.Columns, c)
	}
	return slices.Clip(all), rows.Err()
}
