package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// selectFirst reads the row and the archive's position in one snapshot, and
// whether the first and the last archived event are there: the rows may have been
// removed since they were last counted.
const selectFirst = `
	SELECT c.position, c.position = 0 OR EXISTS (SELECT FROM agents.events WHERE partition = $2 AND revision = 1)
		AND EXISTS (SELECT FROM agents.events WHERE partition = $2 AND revision = c.position), coalesce(e.stream, ''), coalesce(e.revision, 0), e.body, e.raw
	FROM agents.checkpoints c LEFT JOIN LATERAL (
		SELECT stream, revision, body, raw FROM agents.events
		WHERE partition + 0 = $2 AND command_id = $4 AND stream = ANY($5)
		ORDER BY revision LIMIT 1
	) e ON true
	WHERE c.view = $1 AND c.partition = $2 AND c.incarnation = $3`

// FirstOf implements history.ArchiveStore.
func (a *Archive) FirstOf(ctx context.Context, partition int, journal, commandID string, streams []events.AggregateName) (rec events.Record, ok bool, reaches uint64, err error) {
	var r storedRow
	var whole bool
	err = a.db.Pool().QueryRow(ctx, selectFirst, a.view, partition, journal, commandID, streams).Scan(
		&reaches, &whole, &r.stream, &r.revision, &r.body, &r.raw)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return rec, false, 0, fmt.Errorf("%w: the archive belongs to another journal than %s", history.ErrForeignJournal, journal)
	case err != nil:
		return rec, false, 0, fmt.Errorf("query the archive: %w", err)
	case !whole:
		reaches = 0
	}
	reaches = a.gapBefore(partition, reaches)
	if r.revision == 0 {
		return rec, false, reaches, nil
	}
	rec, err = a.record(ctx, &r, partition)
	return rec, true, reaches, err
}
