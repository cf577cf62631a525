package durable

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
)

// Notifications names the view that follows the durable view and sends change
// notifications.
const Notifications = "notifications"

// Position is the checkpoint of the view Notifications, which has no rows.
type Position struct {
	db      *pg.DB
	durable string // the durable view
}

// NewPosition returns the checkpoint of the notifications that follow a durable view.
func NewPosition(db *pg.DB, view string) *Position { return &Position{db: db, durable: view} }

// insertPosition starts at the position up to which an earlier build sent
// notifications (column notified, NULL = up to position), and never ahead of the
// durable view. It waits for a swap that moves the durable view back: the row that the
// swap deletes must not come back with the position before.
const insertPosition = `
	INSERT INTO agents.checkpoints (view, partition, position, incarnation)
	SELECT $1, $2, coalesce(max(least(notified, position)), 0), coalesce(max(incarnation), $4)
	FROM (SELECT notified, position, incarnation FROM agents.checkpoints WHERE view = $3 AND partition = $2 FOR SHARE) durable
	ON CONFLICT DO NOTHING`

// lowerPosition takes back a position ahead of the durable view, which has accepted a
// shorter journal: a save from before may come after the swap that removed the row.
const lowerPosition = `
	UPDATE agents.checkpoints n SET position = d.position, incarnation = d.incarnation
	FROM agents.checkpoints d
	WHERE n.view = $1 AND n.partition = $2 AND d.view = $3 AND d.partition = n.partition AND n.position > d.position`

// Load returns the position. Fails with history.ErrForeignJournal when it
// belongs to another journal than id.
func (p *Position) Load(ctx context.Context, partition int, id string) (uint64, error) {
	if _, err := p.db.Pool().Exec(ctx, insertPosition, Notifications, partition, p.durable, id); err != nil {
		return 0, fmt.Errorf("create the checkpoint: %w", err)
	}
	if _, err := p.db.Pool().Exec(ctx, lowerPosition, Notifications, partition, p.durable); err != nil {
		return 0, fmt.Errorf("lower the checkpoint: %w", err)
	}
	at, err := p.db.Checkpoint(ctx, Notifications, partition)
	if err == nil && at.Journal != id {
		err = fmt.Errorf("%w: the notifications belong to journal %s, this is journal %s", history.ErrForeignJournal, at.Journal, id)
	}
	return at.Position, err
}

// Save moves the position. Fails with projections.ErrFenced when the stored
// position is not from.
func (p *Position) Save(ctx context.Context, partition int, from, to uint64) error {
	moved, err := p.db.MoveCheckpoint(ctx, Notifications, partition, from, to)
	if err == nil && !moved {
		err = projections.ErrFenced
	}
	return err
}
