package feeds

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Heartbeats publishes heartbeats on AGENT_STATE.
type Heartbeats struct{ streams *Streams }

var _ commands.Heartbeats = Heartbeats{}

// NewHeartbeats returns the heartbeats on the streams.
func NewHeartbeats(s *Streams) Heartbeats { return Heartbeats{s} }

// requestHeader carries the fingerprint of the request, so that the reuse of a
// command id for another request is detected while the stream has the heartbeat.
const requestHeader = "Tidemark-Request"

// Publish implements commands.Heartbeats.
func (h Heartbeats) Publish(ctx context.Context, p commands.Publication) (uint64, bool, error) {
	msg := &nats.Msg{Subject: h.streams.Subjects.Root(p.Subject), Data: p.Body, Header: nats.Header{
		nats.MsgIdHdr: []string{p.ID}, requestHeader: []string{p.Request},
	}}
	ack, err := h.streams.JS.PublishMsg(ctx, msg)
	if natsio.StreamMissing(err) { // and so nothing was stored
		if _, oerr := h.streams.Open(ctx, AgentState); oerr != nil {
			return 0, false, oerr
		}
		ack, err = h.streams.JS.PublishMsg(ctx, msg)
	}
	switch {
	case natsio.HasCode(err, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
		return 0, false, fmt.Errorf("%w (%v)", commands.ErrTooLarge, err)
	case err != nil:
		return 0, false, err
	case ack.Duplicate:
		return ack.Sequence, true, h.checkSame(ctx, ack, p.Request)
	}
	return ack.Sequence, false, nil
}

// checkSame returns commands.ErrIDReused if the heartbeat of the same id belongs to
// another request. One that has expired cannot be compared.
func (h Heartbeats) checkSame(ctx context.Context, ack *jetstream.PubAck, request string) error {
	s, err := h.streams.JS.Stream(ctx, ack.Stream)
	if err != nil {
		return err
	}
	first, err := natsio.MessageAt(ctx, h.streams.JS.Conn(), s, ack.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err == nil && first.Header.Get(requestHeader) != request {
		return commands.ErrIDReused
	}
	return err
}
