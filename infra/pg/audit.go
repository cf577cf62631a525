package pg

import (
	"context"
	"fmt"
	"time"
)

// AuditRow is a row of agents.audit, the copy of an event of the stream AUDIT.
type AuditRow struct {
	Sequence   uint64
	RecordedAt time.Time
	Type       string
	Name       string // of the principal
	Actor      string
	Body       []byte // the event as stored
}

// LastAudit is the last sequence that agents.audit has; 0 = it is empty.
func (d *DB) LastAudit(ctx context.Context) (sequence uint64, err error) {
	if err = d.pool.QueryRow(ctx, `SELECT coalesce(max(sequence), 0) FROM agents.audit`).Scan(&sequence); err != nil {
		return 0, fmt.Errorf("read the audit in SQL: %w", err)
	}
	return sequence, nil
}

// InsertAudit stores a row; one that is there stays.
func (d *DB) InsertAudit(ctx context.Context, r AuditRow) error {
	_, err := d.pool.Exec(ctx, `INSERT INTO agents.audit (sequence, recorded_at, type, name, actor, body)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		int64(r.Sequence), r.RecordedAt, r.Type, r.Name, r.Actor, string(r.Body))
	if err != nil {
		return fmt.Errorf("copy the audit to SQL: %w", err)
	}
	return nil
}
