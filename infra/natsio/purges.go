package natsio

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// The server publishes an advisory for every request to its API. A purge of some
// messages leaves no other trace.
const (
	advisorySubject = "$JS.EVENT.ADVISORY.API"
	// ownConnections is how the names of an engine's connections begin.
	ownConnections = "tidemark-"
)

// removals are the requests that remove messages of a stream, before its name.
var removals = []string{"$JS.API.STREAM.PURGE.", "$JS.API.STREAM.MSG.DELETE."}

// FollowPurges calls purged when another program removes messages from a stream by
// the server's API: all, those of some subjects, or one. Where an account does not
// permit the subscription, purged is never called.
func FollowPurges(nc *nats.Conn, purged func(stream, connection string)) (end func(), err error) {
	sub, err := nc.Subscribe(advisorySubject, func(m *nats.Msg) {
		var a struct {
			Client struct {
				Name string `json:"name"`
			} `json:"client"`
			Subject string `json:"subject"`
		}
		if json.Unmarshal(m.Data, &a) != nil || strings.HasPrefix(a.Client.Name, ownConnections) {
			return
		}
		for _, prefix := range removals {
			if stream, ok := strings.CutPrefix(a.Subject, prefix); ok {
				purged(stream, a.Client.Name)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("follow purges of streams: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is closed
}
