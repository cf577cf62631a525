package natsio

import (
	"strconv"

	"github.com/nats-io/nats.go"
)

// StreamName is the name of a journal partition's stream.
func StreamName(partition, partitions int) string {
	if partitions == 1 {
		return "EVENTS"
	}
	return "EVENTS_" + strconv.Itoa(partition)
}

// IntakeRoot is where journals take their events, behind a random token of
// their own. Nothing is captured on events.> itself: a client that may not
// publish there can still have others answer, deliver or republish there.
const IntakeRoot = "$TIDEMARK."

// Replicas is what was asked for, else three where there are three peers.
func Replicas(nc *nats.Conn, asked int) int {
	if asked > 0 {
		return asked
	}
	if nc.ConnectedClusterName() != "" && len(nc.Servers()) >= 3 {
		return 3
	}
	return 1
}
