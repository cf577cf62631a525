package history

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// JournalStore is the journal as its adapter offers it: the entries that were
// not trimmed. A trim takes an aggregate's entries from the beginning, never from
// the middle, and leaves the last one.
type JournalStore interface {
	Appender
	// ID is the incarnation of the journal; a journal that was made again has
	// another one.
	ID() string
	// Incarnation is the short form of ID, for tokens.
	Incarnation() string
	Partitions() int
	// Partition returns where the aggregates with that id live.
	Partition(id string) int
	// Head returns the revision of a partition's last entry; 0 = it is empty.
	Head(ctx context.Context, partition int) (uint64, error)
	// Trimmed returns the revision up to which a partition may lack entries and
	// when that mark was last moved; 0 = nothing was trimmed.
	Trimmed(ctx context.Context, partition int) (cut uint64, at time.Time, err error)
	// FirstSince returns the revision before the first entry that was stored at or
	// after from: where a view that keeps entries only that long may begin.
	FirstSince(ctx context.Context, partition int, from time.Time) (uint64, error)
	// Read follows a partition from just after a revision, for ever. A gap that
	// no trim explains ends it with ErrForeignJournal.
	Read(ctx context.Context, partition int, after uint64) (Cursor, error)
	// Range yields stored entries in order until yield fails, and passes over
	// gaps. It ends not before the end that the partition had when it began.
	Range(ctx context.Context, r Range, yield func(Message) error) error
	// Ends returns the last entry of each of names within b, in the order asked;
	// an empty Message stands for none. Without bounds, f says who answers. A
	// bounded answer is complete up to the bound, from any replica.
	Ends(ctx context.Context, names []events.AggregateName, b Bound, f Freshness) ([]Message, error)
	// EventsAt returns the entries at revisions of a partition, in their order; an empty
	// Message stands for none, and for revision 0.
	EventsAt(ctx context.Context, partition int, revisions []uint64) ([]Message, error)
	// First returns the oldest stored entry of an aggregate, by the leader.
	First(ctx context.Context, name events.AggregateName) (Message, error)
	// Names returns the names of the stored aggregates that a pattern matches, in
	// no order. All must be of one partition.
	Names(ctx context.Context, pattern events.AggregateName) ([]events.AggregateName, error)
}

// Range names entries of one partition: all of them, those of one aggregate, or
// those of the aggregates that a pattern matches.
type Range struct {
	Partition int
	Aggregate events.AggregateName // a name or a pattern; empty = every entry, which is much faster than any filter
	After     uint64               // revisions after this one
	UpTo      uint64               // and up to this one; 0 = the end as it is now
	Since     time.Time            // with Aggregate: entries stored at or after it, instead of After
	// LastOnly: with a pattern, the last entry of each aggregate, in no order. An
	// aggregate may come again with a later entry.
	LastOnly bool
}

// Bound restricts Ends to the entries up to a revision or, with revision 0, to
// those that were stored before a time. The zero Bound restricts nothing.
type Bound struct {
	Revision uint64
	Before   time.Time
}

// ArchiveStore is the archive as its adapter offers it: a copy of every event.
type ArchiveStore interface {
	// Reaches returns the revision up to which a partition of the journal is
	// archived without a gap. Fails with ErrForeignJournal when the archive is of
	// another journal.
	Reaches(ctx context.Context, partition int, journal string) (uint64, error)
	// Each yields a partition's events after one revision, up to another, in
	// order and with their Body, until yield fails.
	Each(ctx context.Context, partition int, after, upTo uint64, yield func(Message) error) error
	// LastOf returns the last event of an aggregate up to a revision (0 = any)
	// and, where at is not zero, recorded not later than at.
	LastOf(ctx context.Context, partition int, name events.AggregateName, upTo uint64, at time.Time) (events.Record, bool, error)
	// LastsOf returns the same for all aggregates whose names begin with prefix,
	// by name.
	LastsOf(ctx context.Context, partition int, prefix string, upTo uint64, at time.Time) ([]events.Record, error)
	// Back returns an aggregate's events below a revision, newest first, at most
	// limit.
	Back(ctx context.Context, partition int, name events.AggregateName, below uint64, limit int) ([]events.Record, error)
	// FirstOf returns the first event that a command caused on one of names, from
	// the same snapshot as reaches: the archive holds the partition's events up
	// to there. ok with an error means that the event exists but cannot be read.
	FirstOf(ctx context.Context, partition int, journal, commandID string, names []events.AggregateName) (rec events.Record, ok bool, reaches uint64, err error)
}
