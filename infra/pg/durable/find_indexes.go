package durable

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// searchedText are the words of a value. The configuration simple keeps every word of
// every language as it is.
const searchedText = `to_tsvector('simple'::regconfig, state_value)`

// searchedKeys is the condition that a key may be searched; empty = every key. The same
// text stands in the indexes and in each search, by which the server knows that they fit.
func searchedKeys(s *readmodel.Search) string {
	if s == nil || len(s.Prefixes) == 0 {
		return ""
	}
	var all []string
	for _, p := range slices.Compact(slices.Sorted(slices.Values(s.Prefixes))) {
		all = append(all, fmt.Sprintf("starts_with(state_key, '%s')", p)) // characters of keys only
	}
	return "(" + strings.Join(all, " OR ") + ")"
}

// findIndexes are the statements that create the indexes of a search, by name.
func findIndexes(s *readmodel.Search) map[string]string {
	if s == nil {
		return nil
	}
	where := searchedKeys(s)
	if where != "" {
		where = " WHERE " + where
	}
	sum := sha256.Sum256([]byte(where))
	name := "state_find_" + hex.EncodeToString(sum[:4])
	return map[string]string{
		name + "_json": fmt.Sprintf(`CREATE INDEX CONCURRENTLY %s_json ON agents.state USING gin (state_value jsonb_path_ops)%s`, name, where),
		name + "_text": fmt.Sprintf(`CREATE INDEX CONCURRENTLY %s_text ON agents.state USING gin (%s)%s`, name, searchedText, where),
	}
}

// IndexSearch creates the indexes that a search needs, beside writers, and removes those
// of another search and those whose creation was interrupted. nil = no search. A search
// is right without them, and slow. done = they are as wanted; false without an error = another
// engine is at it. changed has what was done.
func (t *View) IndexSearch(ctx context.Context, s *readmodel.Search) (changed []string, done bool, err error) {
	conn, err := t.db.Pool().Acquire(ctx)
	if err != nil {
		return nil, false, err
	}
	defer conn.Release()
	var mine bool // one engine at a time; the lock ends with the session
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(findLock)).Scan(&mine); err != nil || !mine {
		return nil, false, err
	}
	defer func() { // also after ctx has ended
		_, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(findLock)) // a broken session has no lock
	}()
	if _, err := conn.Exec(ctx, `SET statement_timeout = 0; SET lock_timeout = 0`); err != nil {
		return nil, false, err
	}
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), `RESET statement_timeout; RESET lock_timeout`) // a broken session is not used again
	}()
	rows, err := conn.Query(ctx, `SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indrelid = 'agents.state'::regclass AND c.relname LIKE 'state\_find\_%'`)
	if err != nil {
		return nil, false, err
	}
	there := map[string]bool{}
	var name string
	var valid bool
	if _, err := pgx.ForEachRow(rows, []any{&name, &valid}, func() error { there[name] = valid; return nil }); err != nil {
		return nil, false, err
	}
	wanted := findIndexes(s)
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

// findLock is the advisory lock of whoever creates the indexes of a search.
const findLock = 0x7469646566696e64
