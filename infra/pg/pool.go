package pg

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool is a pool of connections whose statements use the schema of the database; see
// DB.In.
type Pool struct {
	*pgxpool.Pool
	db *DB
}

// Exec is that of the pool.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return p.Pool.Exec(ctx, p.db.In(sql), args...)
}

// Query is that of the pool.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return p.Pool.Query(ctx, p.db.In(sql), args...)
}

// QueryRow is that of the pool.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return p.Pool.QueryRow(ctx, p.db.In(sql), args...)
}

// SendBatch is that of the pool.
func (p *Pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return p.Pool.SendBatch(ctx, p.db.batch(b))
}

// CopyFrom is that of the pool.
func (p *Pool) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, from pgx.CopyFromSource) (int64, error) {
	return p.Pool.CopyFrom(ctx, p.db.identifier(table), columns, from)
}

// Begin is that of the pool.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx is that of the pool.
func (p *Pool) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	return p.db.tx(p.Pool.BeginTx(ctx, options))
}

// Acquire is that of the pool.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) {
	c, err := p.Pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &Conn{c, p.db}, nil
}

// Conn is a connection of a Pool. What Conn and Hijack return does not know the schema.
type Conn struct {
	*pgxpool.Conn
	db *DB
}

// Exec is that of the connection.
func (c *Conn) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return c.Conn.Exec(ctx, c.db.In(sql), args...)
}

// Query is that of the connection.
func (c *Conn) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return c.Conn.Query(ctx, c.db.In(sql), args...)
}

// QueryRow is that of the connection.
func (c *Conn) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return c.Conn.QueryRow(ctx, c.db.In(sql), args...)
}

// SendBatch is that of the connection.
func (c *Conn) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return c.Conn.SendBatch(ctx, c.db.batch(b))
}

// Begin is that of the connection.
func (c *Conn) Begin(ctx context.Context) (pgx.Tx, error) { return c.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx is that of the connection.
func (c *Conn) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	return c.db.tx(c.Conn.BeginTx(ctx, options))
}

// Unlimited calls f with a connection whose statements may take any time, as those do that
// build an index; they wait for a lock for lockWait at most, 0 = for ever. The connection is
// closed afterwards, with the locks of its session: its settings must not stay in the pool.
func (d *DB) Unlimited(ctx context.Context, lockWait time.Duration, f func(*Conn) error) error {
	pooled, err := d.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer pooled.Release()
	conn := pooled.Conn.Conn()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	conn.PgConn().CustomData()[unlimited] = true
	_, err = pooled.Exec(ctx, `SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', $1, false)`, lockWait.String())
	if err != nil {
		return err
	}
	return f(pooled)
}

// transaction is one whose statements use the schema of the database.
type transaction struct {
	pgx.Tx
	db *DB
}

func (d *DB) tx(tx pgx.Tx, err error) (pgx.Tx, error) {
	if err != nil || d.schema == string(Live) {
		return tx, err
	}
	return &transaction{tx, d}, nil
}

func (t *transaction) Begin(ctx context.Context) (pgx.Tx, error) { return t.db.tx(t.Tx.Begin(ctx)) }

func (t *transaction) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return t.Tx.Exec(ctx, t.db.In(sql), args...)
}

func (t *transaction) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return t.Tx.Query(ctx, t.db.In(sql), args...)
}

func (t *transaction) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return t.Tx.QueryRow(ctx, t.db.In(sql), args...)
}

func (t *transaction) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	return t.Tx.Prepare(ctx, name, t.db.In(sql))
}

func (t *transaction) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return t.Tx.SendBatch(ctx, t.db.batch(b))
}

func (t *transaction) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, from pgx.CopyFromSource) (int64, error) {
	return t.Tx.CopyFrom(ctx, t.db.identifier(table), columns, from)
}

// batch rewrites the statements of a batch, which may be sent again.
func (d *DB) batch(b *pgx.Batch) *pgx.Batch {
	for _, q := range b.QueuedQueries {
		q.SQL = d.In(q.SQL)
	}
	return b
}

func (d *DB) identifier(table pgx.Identifier) pgx.Identifier {
	if len(table) == 2 && table[0] == string(Live) {
		return pgx.Identifier{d.schema, table[1]}
	}
	return table
}
