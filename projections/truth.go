package projections

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

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

// Truth is what the whole journal says of single streams.
type Truth struct {
	Journal Streams
	Archive Archive // nil = without SQL: only an untrimmed journal is whole
}

// Said is what the journal says of some streams: the rows as their last events
// leave them, all losing writes, and the streams of which it says nothing.
// Those whose last event cannot be folded are in Poison.
type Said struct {
	Changes
	None []events.Stream
}

// StateOf asks the journal's leader. Who reads a guard of a row before, and writes
// the answer under it, never puts an older row over a newer one.
func StateOf(ctx context.Context, t Truth, streams []events.Stream) (Said, error) {
	ends, err := t.Journal.Ends(ctx, streams)
	if err != nil {
		return Said{}, err
	}
	var said Said
	found := make([]Message, 0, len(ends))
	for i := range ends {
		kind, _, _ := RowOf(streams[i])
		switch {
		case ends[i].Bad == nil && ends[i].Type == "":
			said.None = append(said.None, streams[i])
		case kind != KindConflict:
			found = append(found, ends[i])
		default:
			all, err := t.All(ctx, streams[i])
			if err != nil {
				return Said{}, err
			}
			found = append(found, all...)
		}
	}
	said.Changes = Fold(found)
	for i := range said.Poison { // some losing writes are not all
		s := said.Poison[i].Stream
		said.Losses = slices.DeleteFunc(said.Losses, func(l readmodel.Loss) bool { return events.EntryConflicts(l.Agent, l.Key) == s })
	}
	return said, nil
}

// All are all events of a stream, oldest first, with those that were trimmed.
func (t Truth) All(ctx context.Context, s events.Stream) ([]Message, error) {
	p := t.Journal.Partition(s.ID())
	cut, err := t.Journal.Trimmed(ctx, p)
	if err != nil {
		return nil, err
	}
	var all []Message
	if cut > 0 {
		if all, err = t.archived(ctx, p, s, cut); err != nil {
			return nil, err
		}
	}
	err = t.Journal.EachOf(ctx, s, cut+1, func(m Message) error {
		all = append(all, m)
		return nil
	})
	return all, err
}

// archivedPage is how many archived events one request brings.
const archivedPage = 500

// archived are the events of a stream up to a revision, from the archive.
func (t Truth) archived(ctx context.Context, partition int, s events.Stream, upTo uint64) ([]Message, error) {
	if t.Archive == nil {
		return nil, fmt.Errorf("%w: partition %d is trimmed up to %d and there is no SQL", ErrNotArchived, partition, upTo)
	}
	var all []Message
	for below := upTo + 1; ; {
		page, err := t.Archive.Back(ctx, partition, s, below, archivedPage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			all, below = append(all, Message{Record: page[i]}), page[i].Revision
		}
		if len(page) < archivedPage {
			slices.Reverse(all)
			return all, nil
		}
	}
}

// RowOf is the row that a stream is folded into; without a kind into none.
func RowOf(s events.Stream) (kind, id, key string) {
	aggregate, rest, named := strings.Cut(string(s), ".")
	id, rest, _ = strings.Cut(rest, ".")
	part, key, _ := strings.Cut(rest, ".")
	switch {
	case !named:
		return "", "", ""
	case aggregate == "agent" && part == "state":
		return KindEntry, id, key
	case aggregate == "agent" && part == "conflict":
		return KindConflict, id, key
	case aggregate == "agent" && rest == "lifecycle":
		return readmodel.KindLifecycle, id, ""
	case aggregate == "config":
		return readmodel.KindConfig, id, rest
	case aggregate == "task", aggregate == "session":
		return aggregate, string(s)[len(aggregate)+1:], "" // as readmodel's kinds
	}
	return "", "", ""
}

// StreamOf is the stream that a row is folded from, by its kind and name.
func StreamOf(kind, name string) events.Stream {
	id, key, _ := strings.Cut(name, ".")
	switch kind {
	case KindEntry:
		return events.StateEntry(id, key)
	case KindConflict:
		return events.EntryConflicts(id, key)
	case readmodel.KindConfig:
		return events.Config(id, key)
	case readmodel.KindTask:
		return events.Task(name)
	case readmodel.KindSession:
		return events.Session(name)
	}
	return events.Lifecycle(name)
}
