package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

var _ history.DigestReader = (*Journal)(nil)

// DigestAt implements projections.Witness. A replica may be behind: what it
// does not have is asked of the leader.
func (j *Journal) DigestAt(ctx context.Context, partition int, revision uint64) (digest string, found bool, err error) {
	msg, err := j.streams[partition].GetMsg(ctx, revision)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		msg, err = j.leaderGet(ctx, partition, `{"seq":`+strconv.FormatUint(revision, 10)+`}`)
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read revision %d of partition %d: %w", revision, partition, err)
	}
	ev, err := events.Decode(msg.Data)
	if err != nil {
		return "", true, nil // no event: whoever expects one here has another journal
	}
	return ev.Digest, true, nil
}
