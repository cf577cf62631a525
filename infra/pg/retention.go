package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Aging is a table whose rows may be removed when they are old.
type Aging string

// The tables that only grow.
const (
	OutboxRows   Aging = "agents.outbox" // of executed commands
	MessageRows  Aging = "agents.messages"
	ConflictRows Aging = "agents.conflicts"
)

// since is the column with the age of a row; a row without a value stays. recorded is its time in
// the journal.
var (
	since    = map[Aging]string{OutboxRows: "done_at", MessageRows: "stored_at", ConflictRows: "recorded_at"}
	recorded = map[Aging]string{OutboxRows: "done_at", MessageRows: "sent_at", ConflictRows: "recorded_at"}
)

// removeRows is the number of rows that one statement removes.
const removeRows = 1000

// RemoveOld removes the rows of a table that are older than age, a batch at a
// time, and returns how many. It waits for no row that another session holds. RemovedUpTo
// returns up to when it has removed rows.
func (d *DB) RemoveOld(ctx context.Context, table Aging, age time.Duration) (removed int64, err error) {
	sql := fmt.Sprintf(`WITH gone AS (DELETE FROM %[1]s WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM %[1]s WHERE %[2]s < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING %[3]s AS at),
		noted AS (INSERT INTO agents.removed AS t SELECT '%[1]s', max(at) FROM gone HAVING count(*) > 0
			ON CONFLICT (table_name) DO UPDATE SET up_to = greatest(t.up_to, excluded.up_to))
		SELECT count(*) FROM gone`, table, since[table], recorded[table])
	for {
		var n int64
		if err := d.pool.QueryRow(ctx, sql, age, removeRows).Scan(&n); err != nil {
			return removed, fmt.Errorf("remove old rows of %s: %w", table, err)
		}
		if removed += n; n < removeRows {
			return removed, nil
		}
	}
}

// RemovedUpTo returns the time in the journal up to which rows of a table may have been removed
// for their age; zero = none were.
func (d *DB) RemovedUpTo(ctx context.Context, table Aging) (at time.Time, err error) {
	err = d.pool.QueryRow(ctx, `SELECT up_to FROM agents.removed WHERE table_name = $1`, string(table)).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		err = fmt.Errorf("read up to when rows of %s were removed: %w", table, err)
	}
	return at, err
}
