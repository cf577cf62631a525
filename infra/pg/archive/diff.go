package archive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/retention"
)

var _ retention.TrimArchive = (*Archive)(nil)

// Differing implements retention.TrimArchive. The database computes the digests, so
// that no bodies are transferred; the times limit it to the partitions of the
// messages' months.
func (a *Archive) Differing(ctx context.Context, partition int, messages []history.Message) ([]uint64, error) {
	revisions := make([]int64, len(messages))
	streams := make([]string, len(messages))
	sums := make([][]byte, len(messages))
	var from, to time.Time
	for i := range messages {
		m := &messages[i]
		sum := sha256.Sum256(m.Body)
		revisions[i], streams[i], sums[i] = int64(m.Revision), string(m.Name), sum[:]
		r := newEventRow(m)
		at := r.recordedAt.Truncate(time.Microsecond)
		if i == 0 || at.Before(from) {
			from = at
		}
		if i == 0 || at.After(to) {
			to = at
		}
	}
	rows, err := a.db.Pool().Query(ctx, `
		SELECT x.revision FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS x (revision, stream, sum)
		WHERE NOT EXISTS (
			SELECT 1 FROM agents.events e
			WHERE e.partition = $1 AND e.revision = x.revision AND e.recorded_at BETWEEN $5 AND $6
			AND e.stream = x.stream AND sha256(coalesce(e.raw, convert_to(e.body, 'UTF8'))) = x.sum)
		ORDER BY 1`, partition, revisions, streams, sums, from, to)
	if err != nil {
		return nil, fmt.Errorf("compare with the archive: %w", err)
	}
	wrong, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r uint64, err error) {
		return r, row.Scan(&r)
	})
	if err != nil {
		return nil, fmt.Errorf("compare with the archive: %w", err)
	}
	return wrong, nil
}
