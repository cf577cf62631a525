package projections

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// Notice is what a committed batch made of one entry, for those who listen to
// the durable view (contract, section 6).
type Notice struct {
	readmodel.EntryChange
	Old jsontext.Value // the value before the batch; nil = there was none
	// Known is false where the view could not tell the value before: the row
	// had been written ahead of it.
	Known bool
}

// SizeOf is what notices take, roughly, in bytes.
func SizeOf(notices []Notice) (n int) {
	for i := range notices {
		n += 256 + len(notices[i].Value) + len(notices[i].Old)
	}
	return n
}

// Notifier tells the world what the durable view has committed.
type Notifier interface {
	// Notify publishes the notices of the batch that began after from. When it
	// fails some of them may be out; they are told apart by revision.
	Notify(ctx context.Context, partition int, from uint64, notices []Notice) error
	// Again publishes, from the journal, the notices of everything after from
	// up to to, some of which may have been out before. It returns up to where
	// all are out; with an error that is less than to, and perhaps more than
	// from.
	Again(ctx context.Context, partition int, from, to uint64) (uint64, error)
}
