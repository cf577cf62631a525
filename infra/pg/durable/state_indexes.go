package durable

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"
)

// indexes are the statements that create indexes of agents.state, by name.
type indexes map[string]string

// index creates the indexes that are wanted, beside writers, and removes the others of
// their family (which is the prefix of their names) and those whose creation was
// interrupted. done = they are as wanted; false without an error = another engine is at
// it. changed has what was done.
func (t *View) index(ctx context.Context, family string, wanted indexes) (changed []string, done bool, err error) {
	conn, err := t.db.Pool().Acquire(ctx)
	if err != nil {
		return nil, false, err
	}
	defer conn.Release()
	var mine bool // one engine at a time; the lock ends with the session
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, t.db.LockKey(indexLock)).Scan(&mine); err != nil || !mine {
		return nil, false, err
	}
	defer func() { // also after ctx has ended
		_, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, t.db.LockKey(indexLock)) // a broken session has no lock
	}()
	if _, err := conn.Exec(ctx, `SET statement_timeout = 0; SET lock_timeout = 0`); err != nil {
		return nil, false, err
	}
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), `RESET statement_timeout; RESET lock_timeout`) // a broken session is not used again
	}()
	rows, err := conn.Query(ctx, `SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indrelid = 'agents.state'::regclass AND starts_with(c.relname, $1)`, family)
	if err != nil {
		return nil, false, err
	}
	there := map[string]bool{}
	var name string
	var valid bool
	if _, err := pgx.ForEachRow(rows, []any{&name, &valid}, func() error { there[name] = valid; return nil }); err != nil {
		return nil, false, err
	}
	wanted = maps.Clone(wanted)
	for name, valid := range there {
		if wanted[name] != "" && valid {
			delete(wanted, name)
			continue
		}
		if _, err := conn.Exec(ctx, `DROP INDEX CONCURRENTLY IF EXISTS agents.`+pgx.Identifier{name}.Sanitize()); err != nil {
			return changed, false, fmt.Errorf("remove the index %s: %w", name, err)
		}
		changed = append(changed, "removed "+name)
	}
	for name, create := range wanted {
		if _, err := conn.Exec(ctx, create); err != nil {
			return changed, false, fmt.Errorf("create the index %s: %w", name, err)
		}
		changed = append(changed, "created "+name)
	}
	return changed, true, nil
}

// indexLock is the advisory lock of the engine that changes indexes of agents.state.
const indexLock = 0x7469646569647873
