package natsio

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A reader requests MinReadAhead bytes and pulls again when less than half of
// them is outstanding. The client library (1.55) drops messages beyond 64 MiB that
// wait for a slow reader, who then reads them all again; MinReadAhead stays below
// that. The library also misses a pull when the whole request arrives before it
// has recorded the request, and then stalls for two heartbeats. Therefore requests
// are large, and heartbeats as frequent as the library allows.
const (
	MinReadAhead  = 16 << 20
	ReadHeartbeat = 500 * time.Millisecond
)

// ReadAhead returns MinReadAhead, or twice the server's max_payload if that is
// more: the server never delivers a message larger than the request.
func ReadAhead(nc *nats.Conn) jetstream.PullMaxBytes {
	return jetstream.PullMaxBytes(max(MinReadAhead, 2*int(nc.MaxPayload())))
}

// IteratorOptions returns the read-ahead and heartbeat options for iterators.
func IteratorOptions(nc *nats.Conn) []jetstream.PullMessagesOpt {
	return []jetstream.PullMessagesOpt{ReadAhead(nc), jetstream.PullHeartbeat(ReadHeartbeat)}
}

// LastPerSubjectOptions are IteratorOptions for a consumer with DeliverLastPerSubjectPolicy. The
// server (2.15.3) skips a message of such a consumer that does not fit into what is left of a
// request in bytes, and counts it as pending for ever. Requests count messages therefore: as many
// as make MinReadAhead at the mean size in the stream.
func LastPerSubjectOptions(info *jetstream.StreamInfo) []jetstream.PullMessagesOpt {
	mean := max(1, info.State.Bytes/max(1, info.State.Msgs))
	count := min(max(MinReadAhead/mean, minPull), maxPull)
	return []jetstream.PullMessagesOpt{jetstream.PullMaxMessages(int(count)), jetstream.PullHeartbeat(ReadHeartbeat)}
}

const minPull, maxPull = 256, 16384
