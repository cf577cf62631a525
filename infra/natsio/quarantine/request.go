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

// This file is the operator's side of the quarantine.

// ReadQuarantine opens the bucket for reading; nil where there is none.
func OpenReadOnly(ctx context.Context, nc *nats.Conn) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, QuarantineBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the bucket of quarantined aggregates: %w", err)
	}
	return &Store{nc: nc, js: js, kv: kv}, nil
}

// Ask leaves word of what is to be done, for the engine that runs the view.
func (q *Store) Ask(ctx context.Context, h quarantine.Held, what string) error {
	if _, err := q.kv.PutString(ctx, keyOf(h.View, h.Partition, h.Stream)+askSuffix, what); err != nil {
		return fmt.Errorf("ask for %s of %s: %w", what, h.Stream, err)
	}
	return nil
}

// Await returns when what was asked is done, with what is held then.
func (q *Store) Await(ctx context.Context, asked quarantine.Held) (now quarantine.Held, there bool, err error) {
	key := keyOf(asked.View, asked.Partition, asked.Stream)
	w, err := q.kv.Watch(ctx, key+".>")
	if err != nil {
		return now, false, err
	}
	defer func() { _ = w.Stop() }() // ends with the watch; nothing to add
	for {
		// Nothing more is done about what is held no longer.
		if now, there, err = q.get(ctx, key); err != nil || !there {
			return now, there, errors.Join(err, q.kv.Purge(ctx, key+askSuffix))
		}
		select {
		case e, open := <-w.Updates():
			if !open {
				return now, there, errors.New("the watch ended")
			}
			if e != nil && e.Operation() != jetstream.KeyValuePut {
				return q.get(ctx, key)
			}
		case <-ctx.Done():
			return now, there, ctx.Err()
		}
	}
}

func (q *Store) get(ctx context.Context, key string) (h quarantine.Held, there bool, err error) {
	e, err := q.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	return h, true, json.Unmarshal(e.Value(), &h)
}
