package durable

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
)

// Notifications is the view that follows the durable view, see Position.
const Notifications = "notifications"

// Position is the checkpoint of the view Notifications, which has no rows in SQL.
type Position struct {
	db    *pg.DB
	front string // the durable view
}

// NewPosition is the checkpoint behind the durable view of a name.
func NewPosition(db *pg.DB, view string) *Position { return &Position{db: db, front: view} }

// insertPosition begins where an earlier build stored that all changes were
// notified (column notified, NULL = up to the position), and never ahead of the
// durable view.
const insertPosition = `
	INSERT INTO agents.checkpoints (view, partition, position, incarnation)
	SELECT $1, $2, coalesce(max(least(notified, position)), 0), coalesce(max(incarnation), $4)
	FROM agents.checkpoints WHERE view = $3 AND partition = $2
	ON CONFLICT DO NOTHING`

// Load returns the position. Fails with history.ErrForeignJournal where it is
// of another journal than id.
func (p *Position) Load(ctx context.Context, partition int, id string) (uint64, error) {
	if _, err := p.db.Pool().Exec(ctx, insertPosition, Notifications, partition, p.front, id); err != nil {
		return 0, fmt.Errorf("create the checkpoint: %w", err)
	}
	at, err := p.db.Checkpoint(ctx, Notifications, partition)
	if err == nil && at.Journal != id {
		err = fmt.Errorf("%w: the notifications are of journal %s, this is journal %s", history.ErrForeignJournal, at.Journal, id)
	}
	return at.Position, err
}

// Save moves the position. Fails with projections.ErrFenced where it is not
// from.
func (p *Position) Save(ctx context.Context, partition int, from, to uint64) error {
	moved, err := p.db.MoveCheckpoint(ctx, Notifications, partition, from, to)
	if err == nil && !moved {
		err = projections.ErrFenced
	}
	return err
}
