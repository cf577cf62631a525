package quarantine

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// OpenReadOnly opens the bucket for reading. It returns nil if the bucket is missing.
func OpenReadOnly(ctx context.Context, nc *nats.Conn) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, BucketName)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the bucket of quarantined aggregates: %w", err)
	}
	return &Store{nc: nc, js: js, kv: kv}, nil
}

// Request stores an operator's request (quarantine.RequestRetry or RequestDrop) for the
// engine that runs the view.
func (q *Store) Request(ctx context.Context, h quarantine.Entry, what string) error {
	if _, err := q.kv.PutString(ctx, keyOf(h.View, h.Partition, h.Stream)+requestSuffix, what); err != nil {
		return fmt.Errorf("request %s of %s: %w", what, h.Stream, err)
	}
	return nil
}

// Await waits until a request is carried out, and returns whether the aggregate is
// still quarantined and its new state.
func (q *Store) Await(ctx context.Context, requested quarantine.Entry) (now quarantine.Entry, quarantined bool, err error) {
	key := keyOf(requested.View, requested.Partition, requested.Stream)
	w, err := q.kv.Watch(ctx, key+".>")
	if err != nil {
		return now, false, err
	}
	defer func() { _ = w.Stop() }()
	for {
		// No engine answers a request for an aggregate that is no longer quarantined.
		if now, quarantined, err = q.get(ctx, key); err != nil || !quarantined {
			return now, quarantined, errors.Join(err, q.kv.Purge(ctx, key+requestSuffix))
		}
		select {
		case e, open := <-w.Updates():
			if !open {
				return now, quarantined, errors.New("the watch ended")
			}
			if e != nil && e.Operation() != jetstream.KeyValuePut {
				return q.get(ctx, key)
			}
		case <-ctx.Done():
			return now, quarantined, ctx.Err()
		}
	}
}

func (q *Store) get(ctx context.Context, key string) (h quarantine.Entry, found bool, err error) {
	e, err := q.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	return h, true, json.Unmarshal(e.Value(), &h)
}
