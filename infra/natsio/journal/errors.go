package journal

import (
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// appendError maps an error of a publish to the journal to the errors of
// history.Appender. An error from the server, or from the client before it sent,
// means that nothing was stored. After any other error the outcome is unknown.
func appendError(err error) error {
	switch {
	case err == nil:
		return nil
	case natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight):
		return history.ErrConflict
	case natsio.HasCode(err, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
		return domain.Errorf(domain.TooLarge, "event.too_large", "the event exceeds the max_payload of the NATS server")
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
	}
	return history.ErrOutcomeUnknown
}
