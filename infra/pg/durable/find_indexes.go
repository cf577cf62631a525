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
		all = append(all, keyPrefix(p))
	}
	return "(" + strings.Join(all, " OR ") + ")"
}

// findIndexes are the statements that create the indexes of a search, by name.
func findIndexes(s *readmodel.Search) indexes {
	if s == nil {
		return nil
	}
	where := searchedKeys(s)
	if where != "" {
		where = " WHERE " + where
	}
	sum := sha256.Sum256([]byte(where))
	name := "state_find_" + hex.EncodeToString(sum[:4])
	return indexes{
		name + "_json":  fmt.Sprintf(`CREATE INDEX CONCURRENTLY %s_json ON agents.state USING gin (state_value jsonb_path_ops)%s`, name, where),
		name + wordsEnd: fmt.Sprintf(`CREATE INDEX CONCURRENTLY %s ON agents.state USING gin (%s)%s`, name+wordsEnd, searchedText, where),
	}
}

// wordsEnd is the end of the names of the indexes of words. Those of an earlier build, which
// have statistics, end otherwise.
const wordsEnd = "_words"

// IndexSearch makes the indexes of a search; nil = there is none. A search is right
// without them, and slow.
func (t *View) IndexSearch(ctx context.Context, s *readmodel.Search) (changed []string, done bool, err error) {
	wanted := findIndexes(s)
	changed, done, err = t.index(ctx, "state_find_", wanted)
	for name := range wanted {
		if err != nil || !done {
			break
		}
		if strings.HasSuffix(name, wordsEnd) {
			done, err = t.withoutStatistics(ctx, name)
		}
	}
	return changed, done, err
}

// withoutStatistics keeps words out of the planner's statistics of an index, which are the most
// frequent ones and which the erasure of an agent does not clear. An index that has some is
// removed; false = it has to be made again.
func (t *View) withoutStatistics(ctx context.Context, name string) (done bool, err error) {
	err = t.db.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `LOCK TABLE agents.state IN SHARE UPDATE EXCLUSIVE MODE`); err != nil { // no ANALYZE is under way
			return err
		}
		if _, err := tx.Exec(ctx, `ALTER INDEX agents.`+name+` ALTER COLUMN 1 SET STATISTICS 0`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM pg_stats s JOIN pg_class i ON i.relname = s.tablename AND i.relnamespace = s.schemaname::regnamespace
			WHERE i.oid = 'agents.`+name+`'::regclass)`).Scan(&done)
	})
	if err == nil && !done {
		_, err = t.db.Pool().Exec(ctx, `DROP INDEX agents.`+name)
	}
	if err != nil {
		return false, fmt.Errorf("keep words out of the statistics: %w", err)
	}
	return done, nil
}
