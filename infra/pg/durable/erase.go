package durable

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/infra/pg"
)

// Eraser removes what the tables have of erased agents. The archive needs nothing: its
// events are encrypted.
type Eraser struct{ db *pg.DB }

// NewEraser returns the eraser of a database.
func NewEraser(db *pg.DB) *Eraser { return &Eraser{db} }

// eraseAgent removes the rows of an agent ($1) up to the revision of its erasure ($2):
// those of entries and configuration are gone if the view has reached it. Commands of
// the outbox that wait are executed later, as those of a new life.
var eraseAgent = []string{
	`DELETE FROM agents.state WHERE agent_id = $1 AND revision <= $2`,
	`DELETE FROM agents.config WHERE agent_id = $1 AND revision <= $2`,
	`DELETE FROM agents.conflicts WHERE agent_id = $1 AND revision <= $2`,
	`DELETE FROM agents.messages WHERE (sender = $1 OR recipient = $1) AND $2::bigint IS NOT NULL`,
	`DELETE FROM agents.outbox WHERE done_at IS NOT NULL AND $2::bigint IS NOT NULL
		AND split_part(subject, '.', 2) = $1 AND split_part(subject, '.', 1) IN ('agent', 'config', 'message')`,
}

// Agent removes the rows of an agent up to the revision of its erasure.
func (e *Eraser) Agent(ctx context.Context, agent string, revision uint64) error {
	err := e.db.InTx(ctx, func(tx pgx.Tx) error {
		for _, sql := range eraseAgent {
			if _, err := tx.Exec(ctx, sql, agent, int64(revision)); err != nil {
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
	"messages":  {"body", "body_text"},
	"outbox":    {"body"},
}

// Compact rewrites the tables, so that no removed row is left in their files. Each
// table is locked meanwhile. The write-ahead log of the server is not touched.
func (e *Eraser) Compact(ctx context.Context) error {
	pooled, err := e.db.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("compact the tables: %w", err)
	}
	conn := pooled.Hijack() // its settings must not stay in the pool
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// A transaction that holds the table is not waited for long: others queue behind.
	if _, err := conn.Exec(ctx, `SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '1s', false)`); err != nil {
		return fmt.Errorf("compact the tables: %w", err)
	}
	for table := range erasable {
		if _, err := conn.Exec(ctx, `VACUUM (FULL) agents.`+table); err != nil {
			return fmt.Errorf("compact the table agents.%s: %w", table, err)
		}
	}
	return nil
}

// Prepare keeps values out of the planner's statistics, which no DELETE clears.
func (e *Eraser) Prepare(ctx context.Context) error {
	for table, columns := range erasable {
		for _, column := range columns {
			if _, err := e.db.Pool().Exec(ctx, `ALTER TABLE agents.`+table+` ALTER COLUMN `+column+` SET STATISTICS 0`); err != nil {
				return fmt.Errorf("keep agents.%s.%s out of the statistics: %w", table, column, err)
			}
		}
	}
	return nil
}
