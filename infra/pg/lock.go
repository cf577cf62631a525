package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Any login may take any advisory lock, and pg_locks shows the keys in use: no such lock of
// another login may keep the engine from its work. Engines keep each other out by the lock of
// a row, which only they can take, and by the advisory lock engines of earlier builds.

// LockedByOther is a condition of SQL: a login that is not the engine's holds the advisory
// lock with the key $1.
const LockedByOther = `EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = $1
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND a.usename <> session_user)`

// LockRow waits for the row of the lock $1 until the transaction ends.
const LockRow = `INSERT INTO agents.leases VALUES ($1, '', '-infinity') ON CONFLICT (name) DO UPDATE SET holder = ''`

// LockAdvisory waits for the advisory lock with the key $1 until the transaction ends, or does
// without it where another login holds it.
const LockAdvisory = `SELECT pg_advisory_xact_lock($1) WHERE NOT ` + LockedByOther

// Lock makes a transaction wait for those of all engines that take the same lock.
func (d *DB) Lock(ctx context.Context, tx pgx.Tx, name string, key int64) error {
	_, err := tx.Exec(ctx, LockRow, name)
	if err == nil {
		_, err = tx.Exec(ctx, LockAdvisory, d.LockKey(key))
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	return nil
}
