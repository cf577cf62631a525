package quarantine_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestBucketMadeAgainGetsAllEntries: a bucket that was removed gets every entry that the engine
// knows, also where the first attempt does not come to its end; what was released meanwhile
// does not come back.
func TestBucketMadeAgainGetsAllEntries(t *testing.T) {
	const entries, stream = 10, "KV_" + natsquarantine.BucketName
	ctx := t.Context()
	nc := support.Engine(t, support.NATSFor(t, embedded.Config{Dir: t.TempDir()}))
	q, err := natsquarantine.Open(ctx, nc, harness.Log(t))
	harness.Must(t, err)
	all := make([]quarantine.Entry, entries)
	for i := range all {
		all[i] = quarantine.Entry{View: "durable", Stream: events.AggregateName(fmt.Sprint("agent.a.state.k", i)), First: uint64(i) + 1, Waiting: 1}
		harness.Must(t, q.Put(ctx, all[i]))
	}
	_, _, err = q.Check(ctx)
	harness.Must(t, err)

	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	s, err := js.Stream(ctx, stream)
	harness.Must(t, err)
	cfg := s.CachedInfo().Config
	harness.Must(t, js.DeleteStream(ctx, stream))
	cfg.MaxBytes = 1000 // there is no room for all of them
	_, err = js.CreateStream(ctx, cfg)
	harness.Must(t, err)
	if lost, _, err := q.Check(ctx); !lost || err == nil {
		t.Fatalf("lost %v, %v", lost, err)
	}
	if known := q.Cached("durable", 0); len(known) != entries {
		t.Errorf("the engine knows %d entries", len(known))
	}

	cfg.MaxBytes = -1
	_, err = js.UpdateStream(ctx, cfg)
	harness.Must(t, err)
	harness.Must(t, q.Remove(ctx, all[3]))
	_, _, err = q.Check(ctx)
	harness.Must(t, err)
	now, err := q.All(ctx)
	harness.Must(t, err)
	if known := q.Cached("durable", 0); len(now) != entries-1 || len(known) != entries-1 {
		t.Errorf("the bucket has %d entries, the engine knows %d; want %d", len(now), len(known), entries-1)
	}
}
