package durable

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// keyPrefix is the condition that a key has a prefix, which is of characters of keys. The
// same text stands in the index and in the query.
func keyPrefix(prefix string) string { return fmt.Sprintf("starts_with(state_key, '%s')", prefix) }

// IndexRetention makes the indexes by which Outdated finds the oldest entries of some
// prefixes. It is right without them, and slow.
func (t *View) IndexRetention(ctx context.Context, prefixes []string) (changed []string, done bool, err error) {
	wanted := indexes{}
	for _, prefix := range prefixes {
		sum := sha256.Sum256([]byte(prefix))
		name := "state_keep_" + hex.EncodeToString(sum[:6])
		wanted[name] = fmt.Sprintf(`CREATE INDEX CONCURRENTLY %s ON agents.state (updated_at) WHERE %s`, name, keyPrefix(prefix))
	}
	return t.index(ctx, "state_keep_", wanted)
}

// Outdated returns up to limit entries whose keys begin with prefix, and with none of the
// longer prefixes except, and that were last written before a time; the oldest first. Entries of quarantined aggregates are in it with
// the version that SQL has.
func (t *View) Outdated(ctx context.Context, prefix string, except []string, before time.Time, limit int) ([]readmodel.WrittenEntry, error) {
	var but strings.Builder
	for _, longer := range slices.Sorted(slices.Values(except)) {
		but.WriteString(" AND NOT " + keyPrefix(longer))
	}
	rows, err := t.db.Pool().Query(ctx, `SELECT agent_id, state_key, version, updated_at FROM agents.state
		WHERE `+keyPrefix(prefix)+but.String()+` AND updated_at < $1 ORDER BY updated_at LIMIT $2`, before, limit)
	if err != nil {
		return nil, fmt.Errorf("look for old entries: %w", err)
	}
	old, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (e readmodel.WrittenEntry, err error) {
		err = r.Scan(&e.Agent, &e.Key, &e.Version, &e.WrittenAt)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for old entries: %w", err)
	}
	return old, nil
}
