package natsio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// EraseMessages overwrites and removes the messages of a stream before a sequence
// whose subjects match a filter, and returns how many. A stream that denies it loses
// them by a purge, which does not overwrite them.
func EraseMessages(ctx context.Context, nc *nats.Conn, s jetstream.Stream, filter string, before uint64) (n int, err error) {
	for next := uint64(1); ; n++ {
		seq, err := nextOn(ctx, nc, s, filter, next)
		if err != nil {
			return n, fmt.Errorf("find messages on %s: %w", filter, err)
		}
		if seq == 0 || seq >= before {
			return n, nil
		}
		err = s.SecureDeleteMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			if left, failed := nextOn(ctx, nc, s, filter, seq); failed == nil && left != seq {
				err = nil // it has expired
			}
		}
		if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) { // the stream denies it
			if err = s.Purge(ctx, jetstream.WithPurgeSubject(filter)); err != nil {
				err = fmt.Errorf("remove the messages on %s: %w", filter, err)
			}
			return n, err
		}
		if err != nil {
			return n, fmt.Errorf("remove a message on %s: %w", filter, err)
		}
		next = seq + 1
	}
}

// nextOn returns the sequence of the first message from one on whose subject matches;
// 0 = there is none.
func nextOn(ctx context.Context, nc *nats.Conn, s jetstream.Stream, filter string, from uint64) (uint64, error) {
	request, err := json.Marshal(map[string]any{"seq": from, "next_by_subj": filter})
	if err != nil {
		return 0, err
	}
	msg, err := LeaderGet(ctx, nc, s.CachedInfo().Config.Name, string(request))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return msg.Sequence, nil
}
