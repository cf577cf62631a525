package quarantine

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Held is one aggregate that a view leaves out.
type Held struct {
	View      string        `json:"view"`
	Partition int           `json:"partition"`
	Stream    events.Stream `json:"stream"`
	Journal   string        `json:"journal"` // the incarnation that the revisions are of
	First     uint64        `json:"first"`   // revision of the event that could not be applied
	Last      uint64        `json:"last"`    // revision of the last event known to wait
	Waiting   int           `json:"waiting"` // events from First on, the first included
	Reason    string        `json:"reason"`
	Since     time.Time     `json:"since"`
	Attempts  int           `json:"attempts"` // how often it was tried again
	// Dropped: the events from First to Last are given up. It is kept until no
	// restart of the view can come to them again; later events go on.
	Dropped bool `json:"dropped,omitzero"`
	// Level is where the view was when all was applied. It is set, and the rest
	// kept, where the view's target may still lose its newest rows in a crash.
	Level uint64 `json:"level,omitzero"`
	// Asked is what somebody wants done with it; it is kept beside the rest, so
	// that asking and counting never overwrite each other.
	Asked string `json:"-"`
}

// Waits tells whether the view leaves the aggregate out now.
func (h *Held) Waits() bool { return !h.Dropped && h.Level == 0 }

// LeavesOut tells whether an event of the aggregate is among those that wait or
// were given up.
func (h *Held) LeavesOut(revision uint64) bool {
	return revision >= h.First && (!h.Dropped || revision <= h.Last)
}

// What may be asked for.
const (
	AskRetry = "retry" // apply what waits again
	AskDrop  = "drop"  // give up what waits, for good
)

// Quarantine keeps what views hold, outside any of them: they must not need
// one another. Only a view's runner puts and removes.
type Store interface {
	// Held is all that a view holds in a partition, as it is stored now.
	Held(ctx context.Context, view string, partition int) ([]Held, error)
	// Known is the same as last heard of, at no cost, by stream.
	Known(view string, partition int) []Held
	// Put keeps one; it replaces what was kept of the same aggregate.
	Put(ctx context.Context, h Held) error
	// Remove lets one go.
	Remove(ctx context.Context, h Held) error
	// Done takes back what was asked for, after it was carried out or failed.
	Done(ctx context.Context, h Held) error
	// Changed is closed when something may be new to Known.
	Changed() <-chan struct{}
}

// Letters is a target that keeps the events of held aggregates beside its rows,
// in the transaction that passes them by.
type Letters interface {
	// Letters are the aggregates of which it holds events back in a partition.
	Letters(ctx context.Context, partition int) ([]Held, error)
}

// Released is what a view no longer holds of an aggregate: its events up to a
// revision.
type Released struct {
	Stream events.Stream
	UpTo   uint64
}
