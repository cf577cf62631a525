package natsio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// LastBySubject returns the body of a get request for the last message of subject,
// which may be a pattern.
func LastBySubject(subject string) string { return `{"last_by_subj":"` + subject + `"}` }

// LeaderGet sends the get request req to the leader of a stream. Any replica may
// answer a direct get (ADR-31), also one that lags; only the leader answers this
// one. It fails with jetstream.ErrMsgNotFound when there is no such message.
func LeaderGet(ctx context.Context, nc *nats.Conn, stream, req string) (*jetstream.RawStreamMsg, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, directGetTimeout)
		defer cancel()
	}
	var reply *nats.Msg
	err := attempt(ctx, readTimeout, func(ctx context.Context) (err error) {
		reply, err = nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, []byte(req))
		return err
	})
	if err != nil {
		return nil, err
	}
	var got struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &got); err != nil {
		return nil, err
	}
	if got.Error != nil {
		if got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, jetstream.ErrMsgNotFound
		}
		return nil, got.Error
	}
	if got.Message == nil {
		return nil, jetstream.ErrMsgNotFound
	}
	msg := &jetstream.RawStreamMsg{Subject: got.Message.Subject, Sequence: got.Message.Seq, Data: got.Message.Data, Time: got.Message.Time}
	if len(got.Message.Header) > 0 {
		if msg.Header, err = nats.DecodeHeadersMsg(got.Message.Header); err != nil {
			return nil, err
		}
	}
	return msg, nil
}

// Replicated reports whether a direct get of a stream may be answered by a replica
// that lags, by the configuration that was read last.
func Replicated(stream jetstream.Stream) bool { return stream.CachedInfo().Config.Replicas > 1 }

// LastMessage returns the last message of subject as the leader of the stream has
// it. It fails with jetstream.ErrMsgNotFound when there is none.
func LastMessage(ctx context.Context, nc *nats.Conn, stream jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	if Replicated(stream) {
		return LeaderGet(ctx, nc, stream.CachedInfo().Config.Name, LastBySubject(subject))
	}
	return stream.GetLastMsgForSubject(ctx, subject)
}

// MessageAt returns the message at a sequence. A replica that lags may lack a
// message but never has another one, so only a missing one is requested from the
// leader. It fails with jetstream.ErrMsgNotFound when there is none.
func MessageAt(ctx context.Context, nc *nats.Conn, stream jetstream.Stream, sequence uint64) (*jetstream.RawStreamMsg, error) {
	msg, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) && Replicated(stream) {
		return LeaderGet(ctx, nc, stream.CachedInfo().Config.Name, `{"seq":`+strconv.FormatUint(sequence, 10)+`}`)
	}
	return msg, err
}

// LeaderLastMessages yields the last message of each subject that has one as the
// leader of a replicated stream has it, in no particular order, with one request
// for each subject.
func LeaderLastMessages(ctx context.Context, nc *nats.Conn, stream string, subjects []string, yield func(*jetstream.RawStreamMsg)) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(singleGetConcurrency)
	for _, subject := range subjects {
		g.Go(func() error {
			msg, err := LeaderGet(ctx, nc, stream, LastBySubject(subject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read the last message of %s from the leader of stream %s: %w", subject, stream, err)
			}
			mu.Lock()
			defer mu.Unlock()
			yield(msg)
			return nil
		})
	}
	return g.Wait()
}
