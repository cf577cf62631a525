package natsio

import (
	"strconv"

	"github.com/nats-io/nats.go"
)

// StreamName returns the stream of a journal partition: EVENTS, or EVENTS_<n> if
// there are several partitions.
func StreamName(partition, partitions int) string {
	if partitions == 1 {
		return "EVENTS"
	}
	return "EVENTS_" + strconv.Itoa(partition)
}

// IntakeRoot is the subject root on which journals receive events, followed by a
// random token per journal. No stream captures events.> itself: a client without
// the permission to publish there can still make other parties reply, deliver or
// republish there.
const IntakeRoot = "$TIDEMARK."

// Replicas returns configured if it is positive, else 3 in a cluster of at least
// three known servers, else 1.
func Replicas(nc *nats.Conn, configured int) int {
	if configured > 0 {
		return configured
	}
	if nc.ConnectedClusterName() != "" && len(nc.Servers()) >= 3 {
		return 3
	}
	return 1
}
