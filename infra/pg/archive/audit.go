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

// A page of an audit ends at the first of these limits.
const (
	auditRows  = 2000
	auditBytes = 8 << 20
)

// auditRow is a row with the columns that lookups rely on.
type auditRow struct {
	storedRow
	recordedAt time.Time
	timestamp  time.Time
	auditColumns
}

// auditColumns are columns that repeat what the body says.
type auditColumns struct {
	nanos                                            int16
	version, schema                                  int64
	aggregate, id, key, typ, writer, command, digest string
}

// Audit implements verify.Archive.
func (a *Archive) Audit(ctx context.Context, partition int, after, upTo uint64, known verify.Known, yield func(history.Message) error) error {
	return a.audit(ctx, &auditQuery{partition: partition, where: ` AND revision <= $5`, arg: int64(min(upTo, math.MaxInt64)),
		revision: int64(after), recordedAt: maxTime}, known, yield)
}

// AuditOf implements verify.Archive.
func (a *Archive) AuditOf(ctx context.Context, partition int, s events.AggregateName, known verify.Known, yield func(history.Message) error) error {
	return a.audit(ctx, &auditQuery{partition: partition, where: ` AND stream = $5`, arg: pg.ValidText(string(s)), recordedAt: maxTime}, known, yield)
}

// auditQuery reads the rows of a partition that match a condition, after a row.
type auditQuery struct {
	partition  int
	where      string
	arg        any
	revision   int64
	recordedAt time.Time
}

type auditPage struct {
	rows []auditRow
	err  error
}

// audit reads the next page while it yields one.
func (a *Archive) audit(ctx context.Context, q *auditQuery, known verify.Known, yield func(history.Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	pages, ended := make(chan auditPage), make(chan struct{})
	go func() {
		defer close(ended)
		a.auditPages(ctx, q, pages)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	for page := range pages {
		if page.err != nil {
			return fmt.Errorf("audit the archive: %w", page.err)
		}
		for i := range page.rows {
			m, err := a.audited(ctx, &page.rows[i], q.partition, known)
			if err != nil {
				return fmt.Errorf("audit the archive: %w", err)
			}
			if err := yield(m); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// auditPages sends pages until it has read all rows, and closes the channel. After a page that
// had too many bytes it asks for fewer rows.
func (a *Archive) auditPages(ctx context.Context, q *auditQuery, pages chan<- auditPage) {
	defer close(pages)
	for limit, more := auditRows, true; more; {
		var page auditPage
		page.rows, more, page.err = a.auditPage(ctx, q, limit)
		select {
		case pages <- page:
		case <-ctx.Done():
			return
		}
		if page.err != nil {
			return
		}
		if n := len(page.rows); n < limit {
			limit = max(n, 16)
		} else {
			limit = min(2*limit, auditRows)
		}
	}
}

// auditPage reads rows and moves q behind them.
func (a *Archive) auditPage(ctx context.Context, q *auditQuery, limit int) (page []auditRow, more bool, err error) {
	rows, err := a.db.Pool().Query(ctx, `
		SELECT revision, recorded_at, recorded_ns, version, timestamp, schema, stream, aggregate, id, key, type,
			writer, command_id, digest, body, raw FROM agents.events
		WHERE partition = $1 AND (revision, recorded_at) > ($2, $3)`+q.where+` ORDER BY revision, recorded_at LIMIT $4`,
		q.partition, q.revision, q.recordedAt, limit, q.arg)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	page = make([]auditRow, 0, limit)
	for size := 0; size < auditBytes && rows.Next(); {
		page = append(page, auditRow{})
		c := &page[len(page)-1]
		err := rows.Scan(&q.revision, &q.recordedAt, &c.nanos, &c.version, &c.timestamp, &c.schema, &c.stream, &c.aggregate,
			&c.id, &c.key, &c.typ, &c.writer, &c.command, &c.digest, &c.body, &c.raw)
		if err != nil {
			return nil, false, err
		}
		c.revision, c.recordedAt = uint64(q.revision), q.recordedAt
		size += len(c.bytes())
		more = size >= auditBytes
	}
	rows.Close() // the rows beyond the bytes are read again
	return page, more || len(page) == limit, rows.Err()
}

var errColumns = errors.New("in the archive: the row's columns differ from its body")

// audited decodes a row and checks its columns, which lookups rely on, against its body.
func (a *Archive) audited(ctx context.Context, c *auditRow, partition int, known verify.Known) (history.Message, error) {
	m := history.Message{Body: c.bytes()}
	if rec := known(events.AggregateName(c.stream), partition, c.revision, m.Body); rec != nil {
		m.Record = *rec
	} else if m.Record, m.Bad = a.record(ctx, &c.storedRow, partition); isClosed(m.Bad) {
		return m, m.Bad
	}
	if m.Bad != nil {
		m.Name, m.Partition, m.Revision = events.AggregateName(c.stream), partition, c.revision
		m.RecordedAt = c.recordedAt.Add(time.Duration(c.nanos)).UTC()
		return m, nil
	}
	want := newEventRow(&m)
	e := want.ev
	says := auditColumns{
		nanos: want.nanos, version: int64(e.Version), schema: int64(e.Schema),
		aggregate: pg.ValidText(e.Aggregate), id: pg.ValidText(e.ID), key: pg.ValidText(e.Key), typ: pg.ValidText(e.Type),
		writer: pg.ValidText(e.Writer), command: pg.ValidText(e.CommandID), digest: pg.ValidText(e.Digest),
	}
	if c.auditColumns != says || c.stream != want.stream || c.timestamp.UnixMicro() != e.Timestamp.UnixMicro() ||
		c.recordedAt.UnixMicro() != want.recordedAt.UnixMicro() {
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
