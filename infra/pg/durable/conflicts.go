package durable

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Conflict is a write that lost, and what it lost against.
type Conflict struct {
	Agent, Key     string
	Version        uint64 // of the conflict among those of its entry
	Kind           string // superseded, rejected
	Verb, Strategy string
	Reason         string  // of a rejection
	Value          *string // that it would have written, as JSON; nil = none
	Timestamp      time.Time
	RecordedAt     time.Time
	Writer         string
	CommandID      string
	// The version and revision of the entry that it lost against.
	CurrentVersion, CurrentRevision uint64
}

// ConflictCursor is the place of a conflict in the order of Conflicts.
type ConflictCursor struct {
	RecordedAt time.Time
	Agent, Key string
	Version    uint64
}

// Conflicts returns the newest conflicts, of all agents or of one; before is where the last
// page ended, and nil at the beginning.
func (d Rows) Conflicts(ctx context.Context, agent string, before *ConflictCursor, limit int) ([]Conflict, error) {
	where, args := ``, []any{limit}
	if agent != "" {
		args = append(args, agent)
		where += fmt.Sprintf(` AND agent_id = $%d`, len(args))
	}
	if before != nil {
		args = append(args, before.RecordedAt, before.Agent, before.Key, before.Version)
		n := len(args)
		where += fmt.Sprintf(` AND recorded_at <= $%d AND (recorded_at < $%d OR (agent_id, state_key, version) > ($%d, $%d, $%d))`, n-3, n-3, n-2, n-1, n)
	}
	rows, err := d.db.Pool().Query(ctx, `
		SELECT agent_id, state_key, version, kind, verb, strategy, coalesce(reason, ''), state_text, timestamp, recorded_at,
			writer, command_id, current_version, current_revision
		FROM agents.conflicts WHERE true`+where+`
		ORDER BY recorded_at DESC, agent_id, state_key, version LIMIT $1`, args...)
	if err != nil {
		return nil, fmt.Errorf("read the table conflicts: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Conflict])
}
