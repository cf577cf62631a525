package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

var _ verify.Archive = (*Archive)(nil)

// auditRows is the number of rows that one statement of an audit reads.
const auditRows = 2000

// auditPosition is the position of a row in the order of an audit.
type auditPosition struct {
	revision   int64
	recordedAt time.Time
}

// Audit implements verify.Archive.
func (a *Archive) Audit(ctx context.Context, partition int, after, upTo uint64, yield func(history.Message) error) error {
	return a.audit(ctx, auditPosition{int64(after), maxTime}, ` AND revision <= $5`, yield, partition, int64(min(upTo, math.MaxInt64)))
}

// AuditOf implements verify.Archive.
func (a *Archive) AuditOf(ctx context.Context, partition int, s events.AggregateName, yield func(history.Message) error) error {
	return a.audit(ctx, auditPosition{0, maxTime}, ` AND stream = $5`, yield, partition, pg.ValidText(string(s)))
}

func (a *Archive) audit(ctx context.Context, after auditPosition, where string, yield func(history.Message) error, partition int, arg any) error {
	for {
		rows, err := a.db.Pool().Query(ctx, `
			SELECT revision, recorded_at, recorded_ns, version, timestamp, schema, stream, aggregate, id, key, type,
				writer, command_id, digest, body, raw FROM agents.events
			WHERE partition = $1 AND (revision, recorded_at) > ($2, $3)`+where+` ORDER BY revision, recorded_at LIMIT $4`,
			partition, after.revision, after.recordedAt, auditRows, arg)
		if err != nil {
			return fmt.Errorf("audit the archive: %w", err)
		}
		page, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (history.Message, error) {
			return a.scanAuditRow(ctx, r, partition, &after)
		})
		if err != nil {
			return fmt.Errorf("audit the archive: %w", err)
		}
		for i := range page {
			if err := yield(page[i]); err != nil {
				return err
			}
		}
		if len(page) < auditRows {
			return nil
		}
	}
}

var errColumns = errors.New("in the archive: the row's columns differ from its body")

// scanAuditRow reads a row and checks its columns, which lookups rely on, against
// its body. It moves at to the row.
func (a *Archive) scanAuditRow(ctx context.Context, r pgx.CollectableRow, partition int, at *auditPosition) (history.Message, error) {
	var c struct {
		nanos           int16
		version, schema int64
		timestamp       time.Time
		storedRow
		aggregate, id, key, typ, writer, command, digest string
	}
	err := r.Scan(&at.revision, &at.recordedAt, &c.nanos, &c.version, &c.timestamp, &c.schema, &c.stream, &c.aggregate,
		&c.id, &c.key, &c.typ, &c.writer, &c.command, &c.digest, &c.body, &c.raw)
	if err != nil {
		return history.Message{}, err
	}
	c.revision = uint64(at.revision)
	m := history.Message{Body: c.bytes()}
	m.Record, m.Bad = a.record(ctx, &c.storedRow, partition)
	if isClosed(m.Bad) {
		return m, m.Bad
	}
	if m.Bad != nil {
		m.Name, m.Partition, m.Revision = events.AggregateName(c.stream), partition, c.revision
		m.RecordedAt = at.recordedAt.Add(time.Duration(c.nanos)).UTC()
		return m, nil
	}
	want := newEventRow(&m)
	e := want.ev
	got := [...]any{at.recordedAt.UnixMicro(), c.nanos, c.version, c.timestamp.UnixMicro(), c.schema, c.stream, c.aggregate,
		c.id, c.key, c.typ, c.writer, c.command, c.digest}
	if got != [...]any{want.recordedAt.UnixMicro(), want.nanos, int64(e.Version), e.Timestamp.UnixMicro(), int64(e.Schema), want.stream, pg.ValidText(e.Aggregate),
		pg.ValidText(e.ID), pg.ValidText(e.Key), pg.ValidText(e.Type), pg.ValidText(e.Writer), pg.ValidText(e.CommandID), pg.ValidText(e.Digest)} {
		m.Bad = errColumns
	}
	return m, nil
}

// restoreEvents is the number of events that one transaction restores.
const restoreEvents = 500

// Restore implements verify.Archive.
func (a *Archive) Restore(ctx context.Context, messages []history.Message) error {
	for len(messages) > 0 {
		n := min(len(messages), restoreEvents)
		if err := a.restore(ctx, messages[:n]); err != nil {
			return fmt.Errorf("restore %d archived events: %w", n, err)
		}
		messages = messages[n:]
	}
	return nil
}

// restore locks the view's checkpoints, so that the view does not archive the same
// events concurrently.
func (a *Archive) restore(ctx context.Context, messages []history.Message) error {
	months := map[string]month{}
	err := a.db.InTx(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`SELECT 1 FROM agents.checkpoints WHERE view = $1 ORDER BY partition FOR UPDATE`, a.view)
		rows := make([]eventRow, len(messages))
		for i := range messages {
			rows[i] = newEventRow(&messages[i])
			m := monthOf(rows[i].recordedAt)
			months[m.table] = m
			b.Queue(`DELETE FROM agents.events WHERE partition = $1 AND revision = $2`, rows[i].partition, rows[i].revision)
		}
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if err := a.ensurePartitions(ctx, tx, months); err != nil {
			return err
		}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"agents", "events"}, eventColumns,
			pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return rows[i].values(), nil }))
		return err
	})
	a.cachePartitions(months, err)
	return err
}
