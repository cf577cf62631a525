package coordination_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestALeaseThatDoesNotEnd: a lease whose holder is gone is taken although the server does
// not end it, as where its clock was set back; one that is renewed is not.
func TestALeaseThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	js := support.JetStream(t, nc)
	leases, err := coordination.OpenLeases(t.Context(), nc, harness.Log(t))
	harness.Must(t, err)
	other, err := coordination.OpenLeases(t.Context(), nc, harness.Log(t))
	harness.Must(t, err)
	s, err := js.Stream(t.Context(), "KV_"+coordination.LeaseBucket)
	harness.Must(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxAge = 0
	_, err = js.UpdateStream(t.Context(), cfg)
	harness.Must(t, err)
	kv, err := js.KeyValue(t.Context(), coordination.LeaseBucket)
	harness.Must(t, err)
	_, err = kv.Create(t.Context(), "gone", []byte("an engine that was killed"))
	harness.Must(t, err)
	run := func(l *coordination.Leases, name string) chan context.Context {
		held := make(chan context.Context, 1)
		go l.Hold(t.Context(), name, func(ctx context.Context) {
			held <- ctx
			<-ctx.Done()
		})
		return held
	}
	mine := harness.Receive(t, "a lease that is free", run(other, "renewed"))
	taken := run(leases, "renewed")
	harness.Receive(t, "the lease of the engine that is gone", run(leases, "gone"))
	select {
	case <-taken:
		t.Error("a lease was taken that its holder renews")
	case <-mine.Done():
		t.Error("a lease was lost that its holder renews")
	default:
	}
	if entry, err := kv.Get(t.Context(), "gone"); err != nil || string(entry.Value()) != leases.ID() || entry.Operation() != jetstream.KeyValuePut {
		t.Errorf("the lease is %v, %v", entry, err)
	}
}

// A lease ends with its engine, also when the engine stops during a renewal that the server
// has made.
func TestALeaseEndsWithItsEngine(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	js := support.JetStream(t, nc)
	leases, err := coordination.OpenLeases(t.Context(), nc, harness.Log(t))
	harness.Must(t, err)
	kv, err := js.KeyValue(t.Context(), coordination.LeaseBucket)
	harness.Must(t, err)
	for _, holder := range []string{leases.ID(), "another engine"} { // who renews it behind the engine's back
		ctx, stop := context.WithCancel(t.Context())
		leases.Hold(ctx, "l", func(context.Context) {
			_, err := kv.PutString(t.Context(), "l", holder)
			harness.Must(t, err)
			stop()
		})
		entry, err := kv.Get(t.Context(), "l")
		if ended := errors.Is(err, jetstream.ErrKeyNotFound); ended != (holder == leases.ID()) {
			t.Errorf("after a renewal by %s the lease is %v, %v", holder, entry, err)
		}
	}
}
