package durable

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

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
	if err != nil || !done {
		return changed, done, err
	}
	for name := range wanted {
		if !strings.HasSuffix(name, wordsEnd) {
			continue
		}
		// The planner's statistics of an index are the most frequent words, which the erasure of
		// an agent does not clear.
		if _, err := t.db.Pool().Exec(ctx, `ALTER INDEX agents.`+name+` ALTER COLUMN 1 SET STATISTICS 0`); err != nil {
			return changed, false, fmt.Errorf("keep words out of the statistics: %w", err)
		}
	}
	return changed, true, nil
}
