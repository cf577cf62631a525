package journal

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// full reports whether err means that a storage limit is reached. The server
// has a code of its own for a full account or server, and the code "store
// failed" for a full stream.
func full(err error) bool {
	var api *jetstream.APIError
	if natsio.HasCode(err, natsio.CodeNoResources, natsio.CodeStorageExceeded, natsio.CodeMemoryExceeded, natsio.CodeAccountExceeded) {
		return true
	}
	return natsio.HasCode(err, natsio.CodeStreamFull) && errors.As(err, &api) &&
		(strings.Contains(api.Description, "maximum bytes exceeded") || strings.Contains(api.Description, "maximum messages exceeded"))
}

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
	case full(err):
		return domain.Errorf(domain.Unavailable, "journal.full",
			"a storage limit of the NATS server, the account or the journal's stream is reached; nothing was stored: raise the limit or free space, and send the same command id again")
	case natsio.HasCode(err, natsio.CodeSealed):
		return domain.Errorf(domain.Unavailable, "journal.sealed",
			"the journal's stream is sealed: it takes no events, and the server cannot undo that; nothing was stored: restore a backup of the stream that is not sealed, and send the same command id again")
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
