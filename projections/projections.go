// Package projections folds the journal into views. A view is a pure fold; the
// runner reads the journal from the view's own checkpoint, hands the view its
// events in batches, and lets it move on only if its position is still where
// it was read.
package projections

import (
	"context"
	"errors"

	"github.com/tidemark-engine/tidemark/events"
)

// Source is the journal as views read it.
type Source interface {
	Partitions() int
	ID() string // the journal's incarnation
	// Head is the sequence of the partition's last event; 0 = it is empty.
	Head(ctx context.Context, partition int) (uint64, error)
	// Read follows a partition from just after a position, for ever.
	Read(ctx context.Context, partition int, after uint64) (Cursor, error)
}

// Cursor yields what is in a partition, in order and without gaps.
type Cursor interface {
	// Messages delivers until Stop; it is closed when the cursor failed, and
	// Err then says why.
	Messages() <-chan Message
	Err() error
	Stop()
}

// Message is one journal entry. Bad is set when it cannot be read as an event
// of ours; Revision and Stream are right even then, and RecordedAt is when the
// journal took it. Body is what is stored, byte for byte, and not to be
// changed: an export and a comparison with the archive rest on it.
type Message struct {
	events.Record
	Bad  error
	Body []byte
}

// ErrFenced means that somebody else has moved the checkpoint: a second
// runner, or a hand. Nothing was written; read the checkpoint again.
var ErrFenced = errors.New("projections: the checkpoint is not where it was read")

// ErrForeignJournal means that the view was folded from another journal. It
// halts until an operator decides.
var ErrForeignJournal = errors.New("projections: the view belongs to another journal")
