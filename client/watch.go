package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"
)

// stateBucket holds the hot entries of agents.
const stateBucket = "AGENT_STATE"

// Watch follows the entries of an agent whose keys match pattern, a NATS pattern: "plan",
// "plan.>", ">". It first gives those that are there, then each change, a deletion as an
// entry with Deleted, until the end of ctx. It reads the hot bucket, where only the latest
// value of a key is sure to come, and which an idle agent leaves: for every change, read
// [Client.Events].
func Watch[T any](ctx context.Context, a *Agent, pattern string) iter.Seq2[Entry[T], error] {
	return func(yield func(Entry[T], error) bool) {
		kv, err := a.c.js.KeyValue(ctx, stateBucket)
		if err != nil {
			yield(Entry[T]{}, fmt.Errorf("bucket %s: %w", stateBucket, err))
			return
		}
		watcher, err := kv.Watch(ctx, a.id+"."+pattern)
		if err != nil {
			yield(Entry[T]{}, fmt.Errorf("watch %s.%s: %w", a.id, pattern, err))
			return
		}
		defer watcher.Stop() //nolint:errcheck // the end of ctx has stopped it already, or its connection is gone
		for {
			select {
			case <-ctx.Done():
				yield(Entry[T]{}, ctx.Err())
				return
			case change, open := <-watcher.Updates():
				if !open {
					yield(Entry[T]{}, errors.Join(errors.New("the watch has ended"), ctx.Err()))
					return
				}
				if change == nil {
					continue // all entries that were there have come
				}
				if !yield(changed[T](a, change)) {
					return
				}
			}
		}
	}
}

func changed[T any](a *Agent, change jetstream.KeyValueEntry) (Entry[T], error) {
	w := wireEntry{Key: change.Key()[len(a.id)+1:], Source: "kv"}
	if change.Operation() != jetstream.KeyValuePut {
		w.Deleted = true
	} else if err := json.Unmarshal(change.Value(), &w); err != nil {
		return Entry[T]{}, fmt.Errorf("entry %s of bucket %s is not readable: %w", change.Key(), stateBucket, err)
	}
	return decode[T](w)
}
