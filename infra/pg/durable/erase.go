package durable

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
)

// Eraser removes what the tables have of erased agents. The archive needs nothing: its
// events are encrypted.
type Eraser struct{ db *pg.DB }

// NewEraser returns the eraser of a database.
func NewEraser(db *pg.DB) *Eraser { return &Eraser{db} }

// eraseAgent removes the rows of an agent up to the revision of its erasure: those of
// entries and configuration are gone if the view has reached it. Commands of the outbox
// that wait are executed later, as those of a new life.
var eraseAgent = []string{
	`DELETE FROM agents.state WHERE agent_id = @agent AND revision <= @revision`,
	`DELETE FROM agents.config WHERE agent_id = @agent AND revision <= @revision`,
	`DELETE FROM agents.conflicts WHERE agent_id = @agent AND revision <= @revision`,
	`DELETE FROM agents.messages WHERE sender = @agent OR recipient = @agent`,
	`DELETE FROM agents.outbox WHERE done_at IS NOT NULL AND (` + outboxOf + `
		OR (regexp_match(subject, '(?:^|\.)task\.([A-Za-z0-9_-]+)'))[1] = ANY (@tasks::text[])
		OR (regexp_match(subject, '(?:^|\.)session\.([A-Za-z0-9_-]+)'))[1] = ANY (@sessions::text[])
		OR (regexp_match(subject, '(?:^|\.)claim\.([A-Za-z0-9_-]+)'))[1] = ANY (@claims::text[])
		OR (regexp_match(subject, '(?:^|\.)reminder\.([A-Za-z0-9_-]+)'))[1] = ANY (@reminders::text[]))`,
}

// outboxOf are the rows of the outbox on an agent, with or without the root of
// commands, and those of reminders and batches that name it.
const outboxOf = `subject ~ ('(^|\.)(agent|config|message)\.' || @agent::text || '(\.|$)')
	OR subject ~ '(^|\.)reminder\.' AND position('.' || @agent::text || '.' IN body) > 0
	OR subject !~ '\.[^.]+\.' AND position('.' || @agent::text || '.' IN body) > 0`

// eraseAgain removes, when the view reaches the erasure of an agent, what the erasure
// has removed before: the database may be one restored from an older backup.
var eraseAgain = []string{
	`DELETE FROM agents.conflicts WHERE agent_id = @agent AND revision <= @revision`,
	`DELETE FROM agents.outbox WHERE done_at <= @at AND (` + outboxOf + `)`,
}

func queueErased(b *pgx.Batch, c *projections.Changes) {
	for _, rec := range c.Events {
		if rec.Type == events.Erased {
			for _, sql := range eraseAgain {
				b.Queue(sql, pgx.NamedArgs{"agent": rec.ID, "revision": int64(rec.Revision), "at": rec.RecordedAt})
			}
		}
	}
}

// Agent removes the rows of an agent up to the revision of its erasure, and the commands
// of the outbox on the tasks, sessions, reminders and claims that were erased with it.
func (e *Eraser) Agent(ctx context.Context, agent string, revision uint64, tasks, sessions, reminders, claims []string) error {
	args := pgx.NamedArgs{"agent": agent, "revision": int64(revision), "tasks": tasks, "sessions": sessions, "reminders": reminders, "claims": claims}
	err := e.db.InTx(ctx, func(tx pgx.Tx) error {
		for _, sql := range eraseAgent {
			if _, err := tx.Exec(ctx, sql, args); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove the rows of the erased agent %s: %w", agent, err)
	}
	return nil
}

// erasable are the tables that hold content of agents in the clear, with the columns
// that do.
var erasable = map[string][]string{
	"state":     {"state_value", "state_text"},
	"config":    {"config_value", "state_text"},
	"conflicts": {"state_text"},
	"tasks":     {"payload", "result", "reason", "detail", "state_text"},
	"sessions":  {"data", "state_text"},
	"claims":    {"data", "state_text"},
	"reminders": {"state_text"},
	"messages":  {"body", "body_text"},
	"outbox":    {"body"},
}

// Compact rewrites the tables, so that no removed row is left in their files. Each
// table is locked meanwhile. The write-ahead log of the server is not touched. more are
// tables beside those of the durable view, quoted.
func (e *Eraser) Compact(ctx context.Context, more ...string) error {
	// A transaction that holds the table is not waited for long: others queue behind.
	err := e.db.Unlimited(ctx, time.Second, func(conn *pg.Conn) error {
		for _, table := range slices.AppendSeq(more, maps.Keys(erasable)) {
			if _, err := conn.Exec(ctx, `VACUUM (FULL) agents.`+table); err != nil {
				return fmt.Errorf("the table %s: %w", e.db.Table(table), err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compact the tables: %w", err)
	}
	return nil
}

// Prepare keeps values out of the planner's statistics, which no DELETE clears.
func (e *Eraser) Prepare(ctx context.Context) error {
	for table, columns := range erasable {
		for _, column := range columns {
			if _, err := e.db.Pool().Exec(ctx, `ALTER TABLE agents.`+table+` ALTER COLUMN `+column+` SET STATISTICS 0`); err != nil {
				return fmt.Errorf("keep %s.%s out of the statistics: %w", e.db.Table(table), column, err)
			}
		}
	}
	return nil
}
