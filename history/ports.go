package history

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Write is one event of an append.
type Write struct {
	Stream events.Stream // of the aggregate whose next event this is
	First  bool          // the aggregate's first event in this append: After is compared
	After  uint64        // revision of the aggregate's last event; 0 = it has none
	ID     string        // message id for deduplication; empty on the later events of one command
	Event  *events.Event
}

// Writes are the writes of one command: evs follow the event at revision after
// of an aggregate. id is the command's message id.
func Writes(name events.Stream, after uint64, id string, evs []events.Event) []Write {
	writes := make([]Write, len(evs))
	for i := range evs {
		writes[i] = Write{Stream: name, Event: &evs[i]}
	}
	writes[0].First, writes[0].After, writes[0].ID = true, after, id
	return writes
}

// Appender stores events.
type Appender interface {
	// Append stores the events of writes in order, all or none. Each aggregate's
	// last event must still be at After of its first write; all aggregates must
	// be in one partition. One write is a plain publish, several are one atomic
	// batch, whose revisions are consecutive.
	//
	// A message id that the journal still knows is not stored again: for one
	// write Duplicate is set, several writes fail with ErrOutcomeUnknown and
	// none is stored. ErrConflict: another writer was first. ErrOutcomeUnknown:
	// the events may or may not be stored. After any other error they are
	// certainly not stored.
	Append(ctx context.Context, writes []Write) (Appended, error)
}

// Appended is the result of an append.
type Appended struct {
	Revision  uint64 // of the last event stored; for a duplicate, of the event stored before
	Duplicate bool   // nothing was stored: the message id is known
}

// Journal is what commands need of the event store: compare-and-set appends and
// reads of single aggregates. The suite in historytest states what an
// implementation must do.
type Journal interface {
	Appender
	// Last is the last event of s; ok is false when there is none.
	Last(ctx context.Context, s events.Stream, f Freshness) (rec events.Record, ok bool, err error)
	// Since yields the events of s that were stored at or after from, oldest
	// first, until yield returns false.
	Since(ctx context.Context, s events.Stream, from time.Time, yield func(events.Record) bool) error
	// At is the event at a revision of a partition.
	At(ctx context.Context, partition int, revision uint64) (events.Record, error)
	// Trimmed is the revision up to which a partition may lack events, and the
	// time of the last trim; 0 = never trimmed. An aggregate's last event is
	// never trimmed.
	Trimmed(ctx context.Context, partition int) (cut uint64, at time.Time, err error)
	// Partition is the partition of an aggregate id.
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

// DuplicateWindow is how long the journal knows a message id.
const DuplicateWindow = 2 * time.Minute

// CommandIndex is where events are found by the command that caused them, for what
// neither the duplicate window nor a search of the journal can tell: command
// ids that do not carry their time, and events that were trimmed.
type CommandIndex interface {
	// FirstOf is the first event that a command caused on one of these streams
	// of a partition. The archive holds the partition's events up to reaches;
	// on an error it has told nothing. With ok and an error there is an event,
	// but it cannot be read.
	FirstOf(ctx context.Context, partition int, commandID string, streams []events.Stream) (rec events.Record, ok bool, reaches uint64, err error)
}
