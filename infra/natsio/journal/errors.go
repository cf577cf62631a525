package journal

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// translate turns what a publish to the journal answered into the journal
// port's errors. An answer from the server, or none because nothing was sent,
// means surely not stored; silence means unknown.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight):
		return history.ErrConflict
	case natsio.HasCode(err, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
		return domain.Errorf(domain.TooLarge, "event.too_large", "the event would be larger than the server takes")
	case natsio.HasCode(err, natsio.CodeBatchDuplicate):
		return history.ErrOutcomeUnknown
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return err
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, jetstream.ErrTooManyStalledMsgs):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return history.ErrOutcomeUnknown
	}
	return history.ErrOutcomeUnknown
}
