package coordination_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestWithLock checks that a holder renews its lock after a renewal whose ack was
// lost and after the lock expired, and stops when another process takes the lock.
func TestWithLock(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	err = coordination.WithLock(t.Context(), nc, "x", func(ctx context.Context) error {
		kv, err := js.KeyValue(ctx, "TIDEMARK_REBUILDS")
		if err != nil {
			return err
		}
		own, err := kv.Get(ctx, "x")
		if err != nil {
			return err
		}
		rev, err := kv.Put(ctx, "x", own.Value())
		if err == nil {
			err = renewed(ctx, kv, rev)
		}
		if err != nil {
			t.Errorf("after a lost ack: %v", err)
		}
		if err := kv.Purge(ctx, "x"); err != nil {
			return err
		}
		if err := renewed(ctx, kv, rev); err != nil {
			t.Errorf("after it expired: %v", err)
		}
		if _, err := kv.Put(ctx, "x", []byte(`{"run":"another"}`)); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, coordination.ErrLocked) {
		t.Errorf("after another process took it: %v", err)
	}
}

// renewed waits until the lock has a revision greater than after.
func renewed(ctx context.Context, kv jetstream.KeyValue, after uint64) error {
	w, err := kv.Watch(ctx, "x", jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case e := <-w.Updates():
			if e != nil && e.Revision() > after {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
