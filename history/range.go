package history

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-engine/tidemark/events"
)

// errPast ends a reading.
var errPast = errors.New("enough")

// Stream yields the entries of one aggregate after a revision, up to another,
// in order, until yield fails.
func (t Truth) Stream(ctx context.Context, s events.Stream, after, upTo uint64, yield func(Message) error) error {
	p := t.Journal.Partition(s.ID())
	cut, err := t.Journal.Trimmed(ctx, p)
	if err != nil {
		return err
	}
	if after < cut {
		old, err := t.archived(ctx, p, s, min(cut, upTo))
		if err != nil {
			return err
		}
		for i := range old {
			if old[i].Revision > after {
				if err := yield(old[i]); err != nil {
					return err
				}
			}
		}
	}
	err = t.Journal.EachOf(ctx, s, max(after, cut)+1, func(m Message) error {
		if m.Revision > upTo {
			return errPast
		}
		return yield(m)
	})
	if errors.Is(err, errPast) {
		return nil
	}
	return err
}

// Truth is what the whole journal says of single streams.
type Truth struct {
	Journal Streams
	Archive Archive // nil = without SQL: only an untrimmed journal is whole
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
