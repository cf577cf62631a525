package natsio

import (
	"context"
	"errors"
	"fmt"

	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections"
)

var _ projections.OneStream = (*Journal)(nil)

// Stream implements projections.OneStream, page by page with direct gets. What
// cannot be read is yielded too, as it is.
func (j *Journal) Stream(ctx context.Context, p int, s events.Stream, after, upTo uint64, yield func(projections.Message) error) error {
	if !plain(s) {
		return fmt.Errorf("%q can be no stream of ours", s)
	}
	for after < upTo {
		batch, err := jetstreamext.GetBatch(ctx, j.js, StreamName(p, len(j.streams)), sincePage,
			jetstreamext.GetBatchSubject(j.root+string(s)), jetstreamext.GetBatchSeq(after+1))
		if err != nil {
			return fmt.Errorf("read %s after %d: %w", s, after, err)
		}
		more := false
		for msg, err := range batch {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				break
			}
			if err != nil {
				return fmt.Errorf("read %s after %d: %w", s, after, err)
			}
			if msg.Sequence > upTo {
				return nil
			}
			if err := yield(j.message(p, msg.Subject, msg.Sequence, msg.Time, msg.Data)); err != nil {
				return err
			}
			after, more = msg.Sequence, true // the server cuts a batch short by bytes
		}
		if !more {
			return nil
		}
	}
	return nil
}
