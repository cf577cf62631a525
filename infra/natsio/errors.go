package natsio

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server error codes that the adapters act on. They may change between server
// versions, so a test provokes each on a real server.
const (
	CodeWrongLastSequence = 10071 // the expected last sequence is stale
	CodeLastSeqInFlight   = 10164 // the same, with a concurrent write in a replicated stream
	CodeBatchDuplicate    = 10201 // a batch contains a message id that the stream already stored
	CodeStreamFull        = 10077 // a limit of the stream is reached
	CodeMessageTooLarge   = 10054
	CodeNoResources       = 10023 // insufficient resources; the codes below are special cases
	CodeStorageExceeded   = 10047
	CodeMemoryExceeded    = 10028
	CodeAccountExceeded   = 10002 // the account's limit is reached by a publish
	CodeNoPeers           = 10005 // in a cluster: no suitable server, or none with room
	CodeAccountResources  = 10002 // the account's limits
	CodeMaxStreamBytes    = 10122 // the account's limit of one stream

	CodeReplicasNotSupported = 10074 // more than one replica on a server without a cluster
	CodeMaxStreams           = 10027
	CodeMaxConsumers         = 10026
	CodeMaxBytesRequired     = 10113 // the account demands a size limit
	CodeNoTier               = 10120 // the account has no tier for the number of replicas
	CodeNotEnabled           = 10076 // JetStream is off
	CodeNotEnabledForAccount = 10039
	CodeNoLeader             = 10008 // the cluster has no leader now
	CodeOffline              = 10118 // all replicas of a stream are down
)

// HasCode reports whether err is a JetStream API error with one of codes.
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

// StreamMissing reports whether err means that no stream receives the subject of
// a publish.
func StreamMissing(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// Unanswered reports whether err means that the server did not answer, or cannot do for
// now what was requested: the same request may succeed later.
func Unanswered(err error) bool {
	for _, e := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrStaleConnection,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.Code == unavailable || errors.Is(err, jetstream.ErrStreamNotFound))
}

// unavailable is the status of a server that lacks a leader, a peer or room.
const unavailable = 503
