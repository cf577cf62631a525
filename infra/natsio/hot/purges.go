package hot

import (
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go"
)

// The server publishes an advisory for every request to its API. A purge of some rows
// leaves no other trace that differs from rows whose TTL has ended.
const (
	advisorySubject = "$JS.EVENT.ADVISORY.API"
	purgeSubject    = "$JS.API.STREAM.PURGE."
	// ownConnections is how the names of an engine's connections begin: its own purges
	// remove what it has no row for.
	ownConnections = "tidemark-"
)

// FollowPurges notes when another program purges a bucket, also of some keys only: the
// next Check then reports lost rows. Where an account does not permit the
// subscription, the audit finds the missing rows later.
func (t *Hot) FollowPurges() (end func(), err error) {
	buckets := map[string]*Bucket{}
	for _, b := range t.buckets() {
		buckets["KV_"+b.name] = b
	}
	sub, err := t.entries.nc.Subscribe(advisorySubject, func(m *nats.Msg) {
		var a struct {
			Client struct {
				Name string `json:"name"`
			} `json:"client"`
			Subject string `json:"subject"`
		}
		if json.Unmarshal(m.Data, &a) != nil || strings.HasPrefix(a.Client.Name, ownConnections) {
			return
		}
		stream, ok := strings.CutPrefix(a.Subject, purgeSubject)
		b := buckets[stream]
		if !ok || b == nil {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.losses[b]++
		b.log.Warn("another program has purged the bucket; what is missing is put again", "bucket", b.name, "connection", a.Client.Name)
	})
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is closed
}
