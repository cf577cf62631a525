package verify

import (
	"context"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Copy is the archive as Verify holds it against the journal, and mends it.
type Copy interface {
	history.Archive
	// Audit is Each, with Bad also where a row contradicts itself. A revision
	// that is there twice comes twice.
	Audit(ctx context.Context, partition int, after, upTo uint64, yield func(history.Message) error) error
	// AuditOf is the same of one stream, oldest first.
	AuditOf(ctx context.Context, partition int, s events.Stream, yield func(history.Message) error) error
	// Restore puts messages in place of whatever is there at their revisions.
	Restore(ctx context.Context, messages []history.Message) error
}
