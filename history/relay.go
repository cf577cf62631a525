package history

import (
	"context"
	"errors"
)

// ErrRelayEnded is the error of a relay's cursors after End.
var ErrRelayEnded = errors.New("the relay has ended")

// Relay hands the messages that one reader of a partition has processed on to
// another reader, which then need not read and decode them again. It keeps a
// bounded number of them; a reader that lags by more reads the journal until it has
// caught up.
type Relay struct{ f *fanout }

// NewRelay returns a relay of the messages after a revision.
func NewRelay(after uint64) *Relay {
	return &Relay{newFanout(after)}
}

// Add hands messages on, in the order of the journal and without gaps.
func (r *Relay) Add(batch []Message) {
	for ; len(batch) > 0; batch = batch[min(fanoutBatch, len(batch)):] {
		r.f.mu.Lock()
		for i := range batch[:min(fanoutBatch, len(batch))] {
			r.f.put(&batch[i])
		}
		r.f.moved.Broadcast()
		r.f.mu.Unlock()
	}
}

// End ends the cursors of the relay with ErrRelayEnded.
func (r *Relay) End() { r.f.fail(ErrRelayEnded) }

// Read follows the relay from just after a position. With read it reads what the
// relay no longer keeps; those messages may be newer than the last one added.
func (r *Relay) Read(ctx context.Context, after uint64, read func(ctx context.Context, after uint64) (Cursor, error)) Cursor {
	return newSharedCursor(ctx, r.f, after, read, func() {})
}
