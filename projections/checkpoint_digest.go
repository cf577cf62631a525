package projections

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
)

// CheckpointDigester is a target that stores, with its position, the digest of the event at that position.
// The digest distinguishes the journal the rows were folded from and a journal that was restored
// from a backup and has grown beyond the position since.
type CheckpointDigester interface {
	// CheckpointDigest returns a position of the target and the digest of the event there; an
	// empty digest means unknown.
	CheckpointDigest(ctx context.Context, partition int) (position uint64, digest string, err error)
}

// CheckDigest compares the digest of the target's checkpoint with the journal's event at that
// revision. Fails with ErrForeignJournal when they differ or when the revision is missing.
func CheckDigest(ctx context.Context, src history.Source, target Target, partition int) error {
	t, ok := target.(CheckpointDigester)
	if !ok {
		return nil
	}
	at, want, err := t.CheckpointDigest(ctx, partition)
	if err != nil || at == 0 || want == "" {
		return err
	}
	digest, found, err := src.DigestAt(ctx, partition, at)
	switch {
	case err != nil:
		return fmt.Errorf("read the digest of revision %d: %w", at, err)
	case found && digest == want:
		return nil
	case !found:
		return missingRevision(ctx, src, partition, at)
	}
	return fmt.Errorf("%w: the view has folded revision %d of partition %d with digest %.12s, the journal's event there has digest %.12s: was the journal restored from a backup?",
		history.ErrForeignJournal, at, partition, want, digest)
}

// CheckJournal runs CheckDigest for all partitions of a view and compares the positions with the
// heads. Fails with ErrForeignJournal on a mismatch.
func CheckJournal(ctx context.Context, src history.Source, target Target) error {
	t, ok := target.(CheckpointDigester)
	if !ok {
		return nil
	}
	for p := range src.Partitions() {
		at, _, err := t.CheckpointDigest(ctx, p)
		if err != nil {
			return err
		}
		head, err := src.Head(ctx, p)
		if err != nil {
			return err
		}
		if at > head {
			return fmt.Errorf("%w: the view is at %d of partition %d, the journal ends at %d", history.ErrForeignJournal, at, p, head)
		}
		if err := CheckDigest(ctx, src, target, p); err != nil {
			return err
		}
	}
	return nil
}

// missingRevision judges a revision that is in neither store: a trim may have removed it where
// there is no archive.
func missingRevision(ctx context.Context, src history.Source, partition int, at uint64) error {
	if cut, _, err := src.Trimmed(ctx, partition); err != nil || at <= cut {
		return err
	}
	return fmt.Errorf("%w: the view has folded revision %d of partition %d, which is not in the journal: was the journal shortened?",
		history.ErrForeignJournal, at, partition)
}
