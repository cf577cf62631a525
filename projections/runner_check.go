package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/history"
)

// checkInterval is how often a running view checks that the journal and its target are still those
// that it began with; checkTimeout bounds one check.
const (
	checkInterval = 2 * time.Second
	checkTimeout  = 5 * time.Second
)

// Checker is a target that may lose rows while the view runs.
type Checker interface {
	// Check fails when rows are lost; the next Load then returns a position before them.
	Check(ctx context.Context, partition int) error
}

// Forgetter is a target that keeps its rows in memory. When the journal is not the one that they
// were folded from, they are dropped, and the view begins again.
type Forgetter interface{ Forget(partition int) }

// applied is the last event that the runner has applied.
type applied struct {
	revision uint64
	digest   string // empty = not known
}

// check compares the journal's end with the position, the event there with the one that was
// applied, and the target with its own expectation. Fails with history.ErrForeignJournal when the
// journal has lost events or has others, also when it has grown beyond the position again, and with
// another error when the cursor is silent while the journal grows.
func (r *Runner) check(ctx context.Context, cur history.Cursor, at uint64) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	head, err := r.Source.Head(ctx, r.Partition)
	if err != nil {
		return err
	}
	if head < at {
		return fmt.Errorf("%w: the view is at %d, the journal ends at %d: was it restored from an older copy?", history.ErrForeignJournal, at, head)
	}
	if r.Follows != nil {
		head = min(head, r.Follows.at.At(r.Partition))
	}
	if head > at && r.silentAt == at+1 { // in two checks; the event may have been appended just before one
		return fmt.Errorf("the journal's reader is silent at %d while the journal is at %d (%v)", at, head, cur.Err())
	}
	if r.silentAt = 0; head > at {
		r.silentAt = at + 1
	}
	if r.last.revision == at && r.last.digest != "" {
		digest, found, err := r.Source.DigestAt(ctx, r.Partition, at)
		switch {
		case err != nil:
			return fmt.Errorf("read the digest of revision %d: %w", at, err)
		case !found:
			return missingRevision(ctx, r.Source, r.Partition, at)
		case digest != r.last.digest:
			return fmt.Errorf("%w: the view has applied revision %d of partition %d with digest %.12s, the journal's event there has digest %.12s: was it restored from an older copy?",
				history.ErrForeignJournal, at, r.Partition, r.last.digest, digest)
		}
	}
	if t, ok := r.Target.(Checker); ok {
		if err := t.Check(ctx, r.Partition); err != nil {
			return err
		}
	}
	return r.checkCheckpoint(ctx, at)
}

// checkCheckpoint fails when the target does not answer, or no longer stores the position of an
// idle view, as after a restore. A view that writes notices that by the fence.
func (r *Runner) checkCheckpoint(ctx context.Context, at uint64) error {
	t, ok := r.Target.(CheckpointDigester)
	if !ok {
		return nil
	}
	stored, _, err := t.CheckpointDigest(ctx, r.Partition)
	if err == nil && stored != at {
		err = fmt.Errorf("the stored position has changed from %d to %d", at, stored)
	}
	return err
}
