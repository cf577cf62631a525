package projections

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/history"
)

// Sealed is a target that keeps, with its position, the digest of the event
// there. By it a journal that was restored from a backup, and has grown beyond
// the position since, is told from the one the rows are of.
type Digested interface {
	// Seal is a position that the target had and the digest of the event there;
	// empty = not known.
	Seal(ctx context.Context, partition int) (position uint64, digest string, err error)
}

// CheckSeal makes sure that the target's rows are of this journal, as far as
// the last event they were folded from can tell. Fails with ErrForeignJournal
// where they are not.
func CheckDigest(ctx context.Context, src history.Source, target Target, partition int) error {
	t, ok := target.(Digested)
	if !ok {
		return nil
	}
	at, want, err := t.Seal(ctx, partition)
	if err != nil || at == 0 || want == "" {
		return err
	}
	digest, found, err := src.DigestAt(ctx, partition, at)
	switch {
	case err != nil:
		return fmt.Errorf("look for the event at revision %d: %w", at, err)
	case found && digest == want:
		return nil
	case !found:
		return lacking(ctx, src, partition, at)
	}
	return fmt.Errorf("%w: it has folded revision %d of partition %d with digest %.12s, the journal has there %.12s: was the journal restored from a backup?",
		history.ErrForeignJournal, at, partition, want, digest)
}

// CheckJournal makes sure that this is the journal of all partitions of a
// view, as far as its positions and seals can tell. Fails with
// ErrForeignJournal where it is not.
func CheckJournal(ctx context.Context, src history.Source, target Target) error {
	t, ok := target.(Digested)
	if !ok {
		return nil
	}
	for p := range src.Partitions() {
		at, _, err := t.Seal(ctx, p)
		if err != nil {
			return err
		}
		head, err := src.Head(ctx, p)
		if err != nil {
			return err
		}
		if at > head {
			return fmt.Errorf("%w: it is at %d of partition %d, the journal ends at %d", history.ErrForeignJournal, at, p, head)
		}
		if err := CheckDigest(ctx, src, target, p); err != nil {
			return err
		}
	}
	return nil
}

// lacking judges a revision that is nowhere to be found: a trim may have taken
// it where there is no archive to be asked.
func lacking(ctx context.Context, src history.Source, partition int, at uint64) error {
	if cut, _, err := src.Trimmed(ctx, partition); err != nil || at <= cut {
		return err
	}
	return fmt.Errorf("%w: it has folded revision %d of partition %d, which the journal has not: was the journal shortened?",
		history.ErrForeignJournal, at, partition)
}
