package messages

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
)

// Messenger publishes messages between agents on AGENT_MESSAGES and heartbeats
// on AGENT_STATE.
type Messenger struct{ streams *feeds.Streams }

var _ commands.Messenger = Messenger{}

// NewMessenger returns a messenger on the streams.
func NewMessenger(s *feeds.Streams) Messenger { return Messenger{s} }

// requestHeader carries the fingerprint of the request, so that the reuse of a
// message id for another request is detected while the stream has the message.
const requestHeader = "Tidemark-Request"

// Publish implements commands.Messenger.
func (m Messenger) Publish(ctx context.Context, p commands.Publication) (uint64, bool, error) {
	msg := &nats.Msg{Subject: m.streams.Subjects.Root(p.Subject), Data: p.Body, Header: nats.Header{
		nats.MsgIdHdr: []string{p.ID}, requestHeader: []string{p.Request},
	}}
	ack, err := m.streams.JS.PublishMsg(ctx, msg)
	if natsio.StreamMissing(err) { // and so nothing was stored
		for _, name := range []string{feeds.AgentState, feeds.AgentMessages} {
			if _, oerr := m.streams.Open(ctx, name); oerr != nil {
				return 0, false, oerr
			}
		}
		ack, err = m.streams.JS.PublishMsg(ctx, msg)
	}
	switch {
	case natsio.HasCode(err, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
		return 0, false, fmt.Errorf("%w (%v)", commands.ErrTooLarge, err)
	case err != nil:
		return 0, false, err
	case ack.Duplicate:
		return ack.Sequence, true, m.checkSame(ctx, ack, p.Request)
	}
	return ack.Sequence, false, nil
}

// checkSame returns commands.ErrIDReused if the message of the same id belongs to
// another request. A message that has expired cannot be compared.
func (m Messenger) checkSame(ctx context.Context, ack *jetstream.PubAck, request string) error {
	s, err := m.streams.JS.Stream(ctx, ack.Stream)
	if err != nil {
		return err
	}
	first, err := natsio.MessageAt(ctx, m.streams.JS.Conn(), s, ack.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err == nil && first.Header.Get(requestHeader) != request {
		return commands.ErrIDReused
	}
	return err
}
