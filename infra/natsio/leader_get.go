package natsio

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// LastBySubject returns the body of a get request for the last message of subject.
func LastBySubject(subject string) string { return `{"last_by_subj":"` + subject + `"}` }

// LeaderGet sends the get request req to the leader of a stream and returns the
// message without its headers. Any replica may answer a direct get (ADR-31), only
// the leader this one. It fails with jetstream.ErrMsgNotFound when there is no
// such message.
func LeaderGet(ctx context.Context, nc *nats.Conn, stream, req string) (*jetstream.RawStreamMsg, error) {
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, []byte(req))
	if err != nil {
		return nil, err
	}
	var got struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Data    []byte `json:"data"`
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
	return &jetstream.RawStreamMsg{Subject: got.Message.Subject, Sequence: got.Message.Seq, Data: got.Message.Data}, nil
}
