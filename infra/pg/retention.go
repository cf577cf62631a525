package pg

import (
	"context"
	"fmt"
	"time"
)

// Aging is a table whose rows may be removed when they are old.
type Aging string

// The tables that only grow.
const (
	OutboxRows   Aging = "agents.outbox" // of executed commands
	MessageRows  Aging = "agents.messages"
	ConflictRows Aging = "agents.conflicts"
)

// since is the column with the age of a row; a row without a value stays.
var since = map[Aging]string{OutboxRows: "done_at", MessageRows: "stored_at", ConflictRows: "recorded_at"}

// removeRows is the number of rows that one statement removes.
const removeRows = 1000

// RemoveOld removes the rows of a table that are older than age, a batch at a
// time, and returns how many. It waits for no row that another session holds.
func (d *DB) RemoveOld(ctx context.Context, table Aging, age time.Duration) (removed int64, err error) {
	sql := fmt.Sprintf(`DELETE FROM %[1]s WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM %[1]s WHERE %[2]s < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED))`, table, since[table])
	for {
		tag, err := d.pool.Exec(ctx, sql, age, removeRows)
		if err != nil {
			return removed, fmt.Errorf("remove old rows of %s: %w", table, err)
		}
		if removed += tag.RowsAffected(); tag.RowsAffected() < removeRows {
			return removed, nil
		}
	}
}
