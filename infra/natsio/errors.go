package natsio

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
)

// Server codes that this package acts on. Each is pinned by a test against a
// real server, for they are facts about a version.
const (
	codeWrongLastSequence = 10071 // compare-and-set lost
	codeLastSeqInFlight   = 10164 // the same, racing inside a replicated stream
	codeBatchDuplicate    = 10201 // a batch holds a message id the stream knows
	codeStreamFull        = 10077 // a limit of the stream refuses
	codeMessageTooLarge   = 10054
	codeNoResources       = 10023 // insufficient resources, and its kin below
	codeStorageExceeded   = 10047
	codeMemoryExceeded    = 10028
	codeNoPeers           = 10005 // in a cluster: no server has room, or none is suitable
)

func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode == c {
			return true
		}
	}
	return false
}

// translate turns what a publish to the journal answered into the journal
// port's errors. An answer from the server, or none because nothing was sent,
// means surely not stored; silence means unknown.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case hasCode(err, codeWrongLastSequence, codeLastSeqInFlight):
		return commands.ErrConflict
	case hasCode(err, codeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
		return domain.Errorf(domain.TooLarge, "event.too_large", "the event would be larger than the server takes")
	case hasCode(err, codeBatchDuplicate):
		return commands.ErrOutcomeUnknown
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
		return commands.ErrOutcomeUnknown
	}
	return commands.ErrOutcomeUnknown
}
