package history

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Write is one event of an append.
type Write struct {
	Name  events.AggregateName // the aggregate
	First bool                 // After is compared; on the aggregate's first event in this append
	After uint64               // expected revision of the aggregate's last event; 0 = it has none
	// Compares is the aggregate of which After is compared, in place of Name. No earlier
	// write of the append may be to it. Empty = Name.
	Compares events.AggregateName
	ID       string // message id for deduplication; empty on the later events of one command
	Event    *events.Event
}

// Writes returns the writes of one command: evs follow the event at revision after
// of the aggregate name. id is the message id of the command.
func Writes(name events.AggregateName, after uint64, id string, evs []events.Event) []Write {
	writes := make([]Write, len(evs))
	for i := range evs {
		writes[i] = Write{Name: name, Event: &evs[i]}
	}
	writes[0].First, writes[0].After, writes[0].ID = true, after, id
	return writes
}

// Appender stores events.
type Appender interface {
	// Append stores the events of writes in order, all or none. The last event of
	// each aggregate must be at After of its first write, that of an aggregate that is
	// only compared at After of the write that compares it, and all aggregates must
	// be in one partition. One write is a plain publish; several are one atomic
	// batch with consecutive revisions.
	//
	// A message id within the duplicate window is not stored again: one write
	// returns Duplicate, several writes fail with ErrOutcomeUnknown and store
	// nothing. Append fails with ErrConflict if another writer was first, and with
	// ErrOutcomeUnknown if the events may or may not be stored. After any other
	// error they are not stored.
	Append(ctx context.Context, writes []Write) (Appended, error)
}

// Opener decrypts events. Journal and archive call it on each event that they read.
type Opener interface {
	// Open decrypts the content of ev, if it is encrypted. An event whose key was
	// destroyed becomes erased, which is no error. It fails with events.ErrDamaged; after any other error the
	// content is not known now.
	Open(ctx context.Context, ev *events.Event) error
}

// Appended is the result of an append.
type Appended struct {
	Revision  uint64 // of the last event stored; for a duplicate, of the event stored before
	Duplicate bool   // nothing was stored: the message id is a duplicate
}

// Journal is the port of commands to the event store: compare-and-set appends and
// reads of single aggregates. Every implementation must pass the suite in
// historytest.
type Journal interface {
	Appender
	// Last returns the last event of s; ok is false if there is none.
	Last(ctx context.Context, s events.AggregateName, f Freshness) (rec events.Record, ok bool, err error)
	// Since yields the events of s that were stored at or after from, oldest
	// first, until yield returns false.
	Since(ctx context.Context, s events.AggregateName, from time.Time, yield func(events.Record) bool) error
	// At returns the event at a revision of a partition.
	At(ctx context.Context, partition int, revision uint64) (events.Record, error)
	// Trimmed returns the revision up to which events of a partition may be
	// trimmed, and the time of the last trim; 0 = never trimmed. The last event
	// of an aggregate is never trimmed.
	Trimmed(ctx context.Context, partition int) (cut uint64, at time.Time, err error)
	// Partition returns the partition of an aggregate id.
	Partition(id string) int
	// Incarnation returns the short random name of this journal, for tokens.
	Incarnation() string
}

// Freshness is the consistency of a read of last events.
type Freshness int

const (
	// Fast may answer from a replica that lags. It is enough where the next write
	// compares and a stale answer costs only a repetition.
	Fast Freshness = iota
	// Linearizable answers from the leader and is never stale.
	Linearizable
)

// DuplicateWindow is how long the journal recognises a message id.
const DuplicateWindow = 2 * time.Minute

// CommandIndex finds events by the command that caused them. Deduplication uses it
// where the duplicate window and a search of the journal are not enough: for command
// ids that do not contain their time, and for trimmed events.
type CommandIndex interface {
	// FirstOf returns the first event that a command caused on one of these
	// aggregates of a partition. The index covers the events of the partition up
	// to revision reaches. After an error without ok the result is unknown; with ok
	// and an error the event exists but cannot be decoded.
	FirstOf(ctx context.Context, partition int, commandID string, streams []events.AggregateName) (rec events.Record, ok bool, reaches uint64, err error)
}
