package hot

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/natsiotest"
	"github.com/tidemark-engine/tidemark/test/support"
)

// The bucket has the limits of the topology document.
func TestBucketConfiguration(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	js := support.JetStream(t, nc)
	cfg := AgentStateBucket
	cfg.Embedded = true
	for range 2 { // create it, then open it
		if _, err := OpenBucket(t.Context(), nc, cfg, harness.Log(t)); err != nil {
			t.Fatal(err)
		}
	}
	kv, err := js.KeyValue(t.Context(), "AGENT_STATE")
	if err != nil {
		t.Fatal(err)
	}
	s, err := kv.Status(t.Context())
	if err != nil || s.History() != 3 || s.TTL() != 30*time.Minute {
		t.Errorf("%+v, %v", s, err)
	}
	stream, err := js.Stream(t.Context(), "KV_AGENT_STATE")
	if err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.MaxMsgSize != 2<<20 || c.Discard != jetstream.DiscardNew || !c.AllowDirect || !c.AllowRollup ||
		c.PersistMode != jetstream.AsyncPersistMode || c.Storage != jetstream.FileStorage {
		t.Errorf("%+v", c)
	}
}

// A server that cannot reserve the bucket's size gets a bucket without a limit.
func TestBucketLargerThanServer(t *testing.T) {
	js := natsiotest.Limited(t, 4<<20, 4<<20)
	b, err := OpenBucket(t.Context(), js.Conn(), AgentStateBucket, harness.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	if max := b.stream.CachedInfo().Config.MaxBytes; max > 0 {
		t.Errorf("reserves %d", max)
	}
}

func TestBucketLargerThanCluster(t *testing.T) {
	js := natsiotest.ClusterWith(t, 4<<20)
	b, err := OpenBucket(t.Context(), js.Conn(), AgentStateBucket, harness.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	if c := b.stream.CachedInfo().Config; c.MaxBytes > 0 || c.Replicas != 3 {
		t.Errorf("reserves %d on %d", c.MaxBytes, c.Replicas)
	}
}

func TestIsMarker(t *testing.T) {
	for h, want := range map[string]bool{"": false, "KV-Operation": true, "Nats-Marker-Reason": true, "Tidemark-Position": false} {
		if got := isMarker(nats.Header{h: []string{"x"}}); got != want {
			t.Errorf("%q: %t", h, got)
		}
	}
}
