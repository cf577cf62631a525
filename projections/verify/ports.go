package verify

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Journal is the journal without the archive; see history.JournalStore.
type Journal interface {
	ID() string
	Partitions() int
	Partition(id string) int
	Head(ctx context.Context, partition int) (uint64, error)
	Trimmed(ctx context.Context, partition int) (cut uint64, at time.Time, err error)
	Range(ctx context.Context, r history.Range, yield func(history.Message) error) error
	Ends(ctx context.Context, names []events.AggregateName, b history.Bound, f history.Freshness) ([]history.Message, error)
}

// readRange yields the stored events of a partition after one revision, up to another.
func readRange(ctx context.Context, j Journal, partition int, after, upTo uint64, yield func(history.Message) error) error {
	if upTo <= after {
		return nil
	}
	return j.Range(ctx, history.Range{Partition: partition, After: after, UpTo: upTo}, yield)
}

// Known returns the event that the journal has at a position, decoded, when its bytes there are
// exactly these: nothing is decoded twice. Otherwise it returns nil.
type Known func(name events.AggregateName, partition int, revision uint64, body []byte) *events.Record

// Archive is the archive with the reads and writes of verify and repair.
type Archive interface {
	history.ArchiveStore
	// Audit yields the events of a range like Each, and sets Bad also for a row that contradicts
	// itself. A duplicate revision is yielded twice.
	Audit(ctx context.Context, partition int, after, upTo uint64, known Known, yield func(history.Message) error) error
	// AuditOf is Audit for one aggregate, oldest first.
	AuditOf(ctx context.Context, partition int, name events.AggregateName, known Known, yield func(history.Message) error) error
	// Restore replaces the archived events at the revisions of messages.
	Restore(ctx context.Context, messages []history.Message) error
}
