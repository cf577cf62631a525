package commands

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Journal is where decisions become facts. Its one implementation speaks to
// JetStream; the suite in commandstest says what an implementation owes.
type Journal interface {
	// Append stores evs, all or nothing, as the next events of s, if the last
	// one is still at revision after (0 = none). The first event is stored
	// under the message id id: if the journal still knows it, nothing is stored
	// and Duplicate is set. Fails with ErrConflict (another writer was first),
	// ErrOutcomeUnknown (it may or may not be stored) or any other error when
	// surely nothing was stored.
	Append(ctx context.Context, s events.Stream, after uint64, id string, evs []events.Event) (Appended, error)
	// Last is the last event of s; ok is false when there is none.
	Last(ctx context.Context, s events.Stream, f Freshness) (rec events.Record, ok bool, err error)
	// Since yields the events of s that were stored at or after from, oldest
	// first, until yield returns false.
	Since(ctx context.Context, s events.Stream, from time.Time, yield func(events.Record) bool) error
	// At is the event at a revision of a partition.
	At(ctx context.Context, partition int, revision uint64) (events.Record, error)
	// Trimmed is the revision up to which a partition may lack events; 0 = it is
	// whole. Each stream's last event is always there.
	Trimmed(ctx context.Context, partition int) (uint64, error)
	// Partition is where the streams of an aggregate id live.
	Partition(id string) int
	// Incarnation is the short name of this journal, for tokens.
	Incarnation() string
}

// Freshness is what a read of the journal's end may cost.
type Freshness int

const (
	// Fast may answer from a replica that lags. Enough wherever an append will
	// compare.
	Fast Freshness = iota
	// Linearizable answers from the leader and is never stale.
	Linearizable
)

// Appended is where an append ended.
type Appended struct {
	Revision  uint64 // of the last event stored; for a duplicate, of the first event of before
	Duplicate bool
}

var (
	// ErrConflict: the stream's last event is not the one decided from.
	ErrConflict = errors.New("journal: another writer was first")
	// ErrOutcomeUnknown: no answer came; the events may or may not be stored.
	ErrOutcomeUnknown = errors.New("journal: outcome unknown")
)
