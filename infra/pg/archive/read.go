package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/pg"
)

// Events are decoded from body, like the journal's bytes.
//
// A month's partition has no statistics until autovacuum has processed it. To get
// a good plan without statistics, the queries select an aggregate as a range of
// its index in index order, and filter the partition, which the aggregate implies,
// by an expression that no index matches.

// recordedUntil limits a query to events recorded up to $4, a timestamp in
// microseconds, and $5, the remaining nanoseconds.
const recordedUntil = ` recorded_at <= $4 AND (recorded_at < $4 OR recorded_ns <= $5)`

// maxTime is the largest timestamptz, used for no limit.
var maxTime = time.Date(294000, 1, 1, 0, 0, 0, 0, time.UTC)

func bounds(upTo uint64, at time.Time) (revision int64, whole time.Time, nanos int16) {
	revision = math.MaxInt64
	if upTo > 0 && upTo < math.MaxInt64 {
		revision = int64(upTo)
	}
	if at.IsZero() {
		return revision, maxTime, 0
	}
	whole, nanos = pg.SplitNanos(at.UTC())
	return revision, whole, nanos
}

// LastOf implements history.ArchiveStore.
func (a *Archive) LastOf(ctx context.Context, partition int, s events.AggregateName, upTo uint64, at time.Time) (events.Record, bool, error) {
	revision, whole, nanos := bounds(upTo, at)
	return a.queryRecord(ctx, partition, `
		SELECT stream, revision, body, raw FROM agents.events
		WHERE partition + 0 = $1 AND stream >= $2 AND (stream, revision) <= ($2, $3) AND`+recordedUntil+`
		ORDER BY stream DESC, revision DESC LIMIT 1`, partition, string(s), revision, whole, nanos)
}

func (a *Archive) queryRecord(ctx context.Context, partition int, query string, args ...any) (events.Record, bool, error) {
	var r storedRow
	err := a.db.Pool().QueryRow(ctx, query, args...).Scan(&r.stream, &r.revision, &r.body, &r.raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return events.Record{}, false, nil
	}
	if err != nil {
		return events.Record{}, false, fmt.Errorf("query the archive: %w", err)
	}
	rec, err := a.record(ctx, &r, partition)
	return rec, err == nil, err
}

// Back implements history.ArchiveStore; below = 0 starts at the last event.
func (a *Archive) Back(ctx context.Context, partition int, s events.AggregateName, below uint64, limit int) ([]events.Record, error) {
	if below == 0 || below > math.MaxInt64 {
		below = math.MaxInt64
	}
	return a.queryRecords(ctx, partition, `
		SELECT stream, revision, body, raw FROM agents.events
		WHERE partition + 0 = $1 AND stream >= $2 AND (stream, revision) < ($2, $3)
		ORDER BY stream DESC, revision DESC LIMIT $4`, partition, string(s), int64(below), limit)
}

// lastsPage is the number of aggregates that one statement of LastsOf reads.
const lastsPage = 1000

// selectLasts skips from aggregate to aggregate instead of reading every version:
// $2 is the prefix, $6 the aggregate to start after, $7 the number of aggregates.
// An aggregate never changes its partition, so its first row names it.
const selectLasts = `
	WITH RECURSIVE hop AS (
		(SELECT stream, partition FROM agents.events WHERE stream > $6 AND stream >= $2 ORDER BY stream LIMIT 1)
		UNION ALL
		SELECT next.stream, next.partition FROM hop CROSS JOIN LATERAL (
			SELECT e.stream, e.partition FROM agents.events e WHERE e.stream > hop.stream ORDER BY e.stream LIMIT 1
		) next WHERE starts_with(hop.stream, $2)
	), page AS (
		SELECT stream, partition FROM hop WHERE starts_with(stream, $2) LIMIT $7
	)
	SELECT page.stream, coalesce(e.revision, 0), e.body, e.raw FROM page LEFT JOIN LATERAL (
		SELECT revision, body, raw FROM agents.events
		WHERE page.partition = $1 AND stream >= page.stream AND (stream, revision) <= (page.stream, $3) AND` + recordedUntil + `
		ORDER BY stream DESC, revision DESC LIMIT 1
	) e ON true
	ORDER BY page.stream`

// LastsOf implements history.ArchiveStore.
func (a *Archive) LastsOf(ctx context.Context, partition int, prefix string, upTo uint64, at time.Time) ([]events.Record, error) {
	revision, whole, nanos := bounds(upTo, at)
	var all []events.Record
	for after := ""; ; {
		page, err := a.queryRows(ctx, selectLasts, partition, prefix, revision, whole, nanos, after, lastsPage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if page[i].revision == 0 {
				continue // in another partition, or newer than the limits
			}
			rec, err := a.record(ctx, &page[i], partition)
			if err != nil {
				return nil, err
			}
			all = append(all, rec)
		}
		if len(page) < lastsPage {
			return all, nil
		}
		after = page[len(page)-1].stream
	}
}

func (a *Archive) queryRecords(ctx context.Context, partition int, query string, args ...any) ([]events.Record, error) {
	rows, err := a.queryRows(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	recs := make([]events.Record, len(rows))
	for i := range rows {
		if recs[i], err = a.record(ctx, &rows[i], partition); err != nil {
			return nil, err
		}
	}
	return recs, nil
}

func (a *Archive) queryRows(ctx context.Context, query string, args ...any) ([]storedRow, error) {
	got, err := a.db.Pool().Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query the archive: %w", err)
	}
	rows, err := pgx.CollectRows(got, func(row pgx.CollectableRow) (r storedRow, err error) {
		return r, row.Scan(&r.stream, &r.revision, &r.body, &r.raw)
	})
	if err != nil {
		return nil, fmt.Errorf("query the archive: %w", err)
	}
	return rows, nil
}

// storedRow holds the columns of a row that events are decoded from.
type storedRow struct {
	stream    string
	revision  uint64
	body, raw []byte
}

func (r *storedRow) bytes() []byte {
	if r.raw != nil {
		return r.raw
	}
	return r.body
}

// record decodes a row and decrypts it.
func (a *Archive) record(ctx context.Context, r *storedRow, partition int) (events.Record, error) {
	rec, err := events.DecodeAt(r.bytes(), events.AggregateName(r.stream), partition, r.revision)
	if err == nil && a.opener != nil {
		if err = a.opener.Open(ctx, &rec.Event); err != nil && !errors.Is(err, events.ErrDamaged) {
			return events.Record{}, &closedError{fmt.Errorf("revision %d of partition %d: %w", r.revision, partition, err)}
		}
	}
	if err != nil {
		return rec, fmt.Errorf("in the archive: %w", err)
	}
	return rec, nil
}

// closedError means that the key of an event cannot be read now.
type closedError struct{ error }

func (e *closedError) Unwrap() error { return e.error }

// isClosed reports whether an event was not decoded because its key cannot be read.
func isClosed(err error) bool {
	var closed *closedError
	return errors.As(err, &closed)
}
