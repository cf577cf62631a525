package natsio

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A reader asks for more when less than half of leastAhead is to come, in bytes:
// the client library (1.55) drops what lies beyond 64 MiB before a slow reader,
// who would then ask for all of it again. Nor does it ask when all that is to
// come arrives while it is still noting its last request; it then waits for two
// heartbeats before it asks again. So there is much to arrive, and heartbeats
// are as frequent as it allows.
const (
	LeastAhead    = 16 << 20
	ReadHeartbeat = 500 * time.Millisecond
)

// readAhead is leastAhead, or more where the server takes larger messages: one
// that is larger than what is asked for never comes.
func ReadAhead(nc *nats.Conn) jetstream.PullMaxBytes {
	return jetstream.PullMaxBytes(max(LeastAhead, 2*int(nc.MaxPayload())))
}

// readQuickly is the same for iterators.
func IteratorOptions(nc *nats.Conn) []jetstream.PullMessagesOpt {
	return []jetstream.PullMessagesOpt{ReadAhead(nc), jetstream.PullHeartbeat(ReadHeartbeat)}
}
