package durable

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
)

// indexes are the statements that create indexes of agents.state, by name.
type indexes map[string]string

// index creates the indexes that are wanted, beside writers, and removes the others of
// their family (which is the prefix of their names) and those whose creation was
// interrupted. done = they are as wanted; false without an error = another engine is at
// it. changed has what was done.
func (t *View) index(ctx context.Context, family string, wanted indexes) (changed []string, done bool, err error) {
	err = t.db.Unlimited(ctx, 0, func(conn *pg.Conn) error {
		var mine bool // one engine at a time
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, t.db.LockKey(indexLock)).Scan(&mine); err != nil || !mine {
			return err
		}
		defer func() {
			_, _ = conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, t.db.LockKey(indexLock)) // or it ends with the session
		}()
		changed, err = reindex(ctx, conn, family, maps.Clone(wanted))
		done = err == nil
		return err
	})
	return changed, done, err
}

// reindex is index on a connection of its own; it changes wanted.
func reindex(ctx context.Context, conn *pg.Conn, family string, wanted indexes) (changed []string, err error) {
	rows, err := conn.Query(ctx, `SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indrelid = 'agents.state'::regclass AND starts_with(c.relname, $1)`, family)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	var name string
	var valid bool
	if _, err := pgx.ForEachRow(rows, []any{&name, &valid}, func() error { there[name] = valid; return nil }); err != nil {
		return nil, err
	}
	for name, valid := range there {
		if wanted[name] != "" && valid {
			delete(wanted, name)
			continue
		}
		if _, err := conn.Exec(ctx, `DROP INDEX CONCURRENTLY IF EXISTS agents.`+pgx.Identifier{name}.Sanitize()); err != nil {
			return changed, fmt.Errorf("remove the index %s: %w", name, err)
		}
		changed = append(changed, "removed "+name)
	}
	for name, create := range wanted {
		if _, err := conn.Exec(ctx, create); err != nil {
			return changed, fmt.Errorf("create the index %s: %w", name, err)
		}
		changed = append(changed, "created "+name)
	}
	return changed, nil
}

// indexLock is the advisory lock of the engine that changes indexes of agents.state.
const indexLock = 0x7469646569647873
