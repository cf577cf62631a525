package coordination_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestAlone renews a name after a renewal whose answer was lost, and after the
// name was gone, and gives it up to somebody else.
func TestAlone(t *testing.T) {
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
			t.Errorf("after a lost answer: %v", err)
		}
		if err := kv.Purge(ctx, "x"); err != nil {
			return err
		}
		if err := renewed(ctx, kv, rev); err != nil {
			t.Errorf("after it was gone: %v", err)
		}
		if _, err := kv.Put(ctx, "x", []byte(`{"run":"another"}`)); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, coordination.ErrLocked) {
		t.Errorf("after somebody else took it: %v", err)
	}
}

// renewed waits until the name has been renewed after a revision.
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
