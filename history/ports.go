package history

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Write is one event of an atomic append.
type Write struct {
	Stream events.Stream
	First  bool   // of its stream in this append: After is compared
	After  uint64 // revision of the stream's last event; 0 = none
	ID     string // message id; empty on the later events of one command
	Event  *events.Event
}

// Batcher is a journal that appends across streams.
type Batcher interface {
	// AppendAll stores all or nothing, in order, and returns the revision of the
	// last. All streams must be of one partition. Fails with ErrConflict when a
	// stream has moved, and with ErrOutcomeUnknown also when the journal knows
	// one of the message ids.
	AppendAll(ctx context.Context, writes []Write) (last uint64, err error)
}

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

// Source is the journal as views read it.
type Source interface {
	Partitions() int
	ID() string // the journal's incarnation
	// Head is the sequence of the partition's last event; 0 = it is empty.
	Head(ctx context.Context, partition int) (uint64, error)
	// Read follows a partition from just after a position, for ever.
	Read(ctx context.Context, partition int, after uint64) (Cursor, error)
}

// Cursor yields what is in a partition, in order and without gaps.
type Cursor interface {
	// Messages delivers until Stop; it is closed when the cursor failed, and
	// Err then says why.
	Messages() <-chan Message
	Err() error
	Stop()
}

// Streams is the journal as it is, to be asked for single streams and read from
// one revision up to another, gaps and all.
type Streams interface {
	Trimmable
	// Partition is where the streams of an aggregate id live.
	Partition(id string) int
	// Ends are the last events of streams as the journal's leader has them now,
	// never stale, in the order asked; without a type where there is none.
	Ends(ctx context.Context, streams []events.Stream) ([]Message, error)
	// Each yields what is in a partition after one revision, up to another, in
	// order, until yield fails.
	Each(ctx context.Context, partition int, after, upTo uint64, yield func(Message) error) error
	// EachOf yields what is in a stream from a revision on, oldest first, until
	// yield fails.
	EachOf(ctx context.Context, s events.Stream, from uint64, yield func(Message) error) error
}
