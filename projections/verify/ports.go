package verify

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Journal is the journal alone, as verify compares it with the archive; see
// history.JournalStore.
type Journal interface {
	ID() string
	Partitions() int
	Partition(id string) int
	Head(ctx context.Context, partition int) (uint64, error)
	Trimmed(ctx context.Context, partition int) (cut uint64, at time.Time, err error)
	Range(ctx context.Context, r history.Range, yield func(history.Message) error) error
	Ends(ctx context.Context, names []events.Stream, b history.Bound, f history.Freshness) ([]history.Message, error)
}

// between yields the stored entries of a partition after one revision, up to
// another.
func between(ctx context.Context, j Journal, partition int, after, upTo uint64, yield func(history.Message) error) error {
	if upTo <= after {
		return nil
	}
	return j.Range(ctx, history.Range{Partition: partition, After: after, UpTo: upTo}, yield)
}

// Archive is the archive as verify compares it with the journal and repairs it.
type Archive interface {
	history.ArchiveStore
	// Audit is Each, with Bad also where a row contradicts itself. A revision
	// that is there twice comes twice.
	Audit(ctx context.Context, partition int, after, upTo uint64, yield func(history.Message) error) error
	// AuditOf is the same for one aggregate, oldest first.
	AuditOf(ctx context.Context, partition int, name events.Stream, yield func(history.Message) error) error
	// Restore puts messages in place of whatever is there at their revisions.
	Restore(ctx context.Context, messages []history.Message) error
}
