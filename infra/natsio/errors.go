package natsio

import (
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server codes that this package acts on. Each is pinned by a test against a
// real server, for they are facts about a version.
const (
	CodeWrongLastSequence = 10071 // compare-and-set lost
	CodeLastSeqInFlight   = 10164 // the same, racing inside a replicated stream
	CodeBatchDuplicate    = 10201 // a batch holds a message id the stream knows
	CodeStreamFull        = 10077 // a limit of the stream refuses
	CodeMessageTooLarge   = 10054
	CodeNoResources       = 10023 // insufficient resources, and its kin below
	CodeStorageExceeded   = 10047
	CodeMemoryExceeded    = 10028
	CodeNoPeers           = 10005 // in a cluster: no server has room, or none is suitable
)

func HasCode(err error, codes ...jetstream.ErrorCode) bool {
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

// missing tells that nobody listens on a subject: its stream is not there.
func Missing(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}
