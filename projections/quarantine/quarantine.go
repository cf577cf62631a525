// Package quarantine describes the events that a view cannot apply and therefore sets aside, one
// aggregate at a time, and the port of the store that keeps them.
package quarantine

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Entry is one aggregate that a view has quarantined.
type Entry struct {
	View      string               `json:"view"`
	Partition int                  `json:"partition"`
	Stream    events.AggregateName `json:"stream"`
	Journal   string               `json:"journal"` // incarnation of the journal that the revisions belong to
	First     uint64               `json:"first"`   // revision of the event that cannot be applied
	Last      uint64               `json:"last"`    // revision of the last known waiting event
	Waiting   int                  `json:"waiting"` // number of waiting events, the first included
	Reason    string               `json:"reason"`
	Since     time.Time            `json:"since"`
	Attempts  int                  `json:"attempts"` // number of retries
	// Dropped: the events from First to Last are given up; later events are applied. The entry is
	// kept until no restart of the view can read the dropped events again.
	Dropped bool `json:"dropped,omitzero"`
	// AppliedAt is the view's position when all waiting events were applied. It is set, and the
	// entry kept, where the view's target may still lose its newest rows in a crash.
	AppliedAt uint64 `json:"level,omitzero"`
	// Asked is the action that an operator has requested; it is stored separately, so that
	// requests and counts never overwrite each other.
	Request string `json:"-"`
}

// Waits reports whether the view excludes the aggregate now.
func (h *Entry) Waits() bool { return !h.Dropped && h.AppliedAt == 0 }

// Excludes reports whether an event of the aggregate at a revision waits or was dropped.
func (h *Entry) Excludes(revision uint64) bool {
	return revision >= h.First && (!h.Dropped || revision <= h.Last)
}

// Actions that an operator may request.
const (
	RequestRetry = "retry" // apply the waiting events again
	RequestDrop  = "drop"  // give up the waiting events permanently
)

// Store keeps the quarantine of all views, independent of each of them. Only a view's runner puts
// and removes entries.
type Store interface {
	// Entries reads the stored entries of a view in a partition.
	Entries(ctx context.Context, view string, partition int) ([]Entry, error)
	// Cached returns the same entries from memory, sorted by stream; they may be stale.
	Cached(view string, partition int) []Entry
	// Put stores an entry; it replaces the entry of the same aggregate.
	Put(ctx context.Context, h Entry) error
	// Remove deletes an entry.
	Remove(ctx context.Context, h Entry) error
	// Done removes a request after it was executed or has failed.
	Done(ctx context.Context, h Entry) error
	// Changed returns a channel that is closed when the result of Cached may have changed.
	Changed() <-chan struct{}
}

// TargetQuarantine is a target that stores the quarantined events beside its rows, in the
// transaction that passes them.
type TargetQuarantine interface {
	// Quarantined returns the aggregates of which the target has quarantined events in a
	// partition.
	Quarantined(ctx context.Context, partition int) ([]Entry, error)
}

// Released names events of an aggregate that are no longer quarantined: all up to a revision.
type Released struct {
	Stream events.AggregateName
	UpTo   uint64
}
