package natsio

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// EachRow yields every value in the bucket as a row of a kind, one per key, in
// no order. Bad is set where a value cannot be read.
func (b *Bucket) EachRow(ctx context.Context, kind string, yield func(projections.Row)) error {
	kv, err := b.js.KeyValue(ctx, b.name)
	if err != nil {
		return fmt.Errorf("list bucket %s: %w", b.name, err)
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("list bucket %s: %w", b.name, err)
	}
	defer func() { _ = w.Stop() }() // ends with the watch; nothing to add
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case v, open := <-w.Updates():
			if !open {
				return fmt.Errorf("list bucket %s: the watch ended early", b.name)
			}
			if v == nil {
				return nil
			}
			yield(row(kind, v.Key(), v.Value()))
		}
	}
}

func row(kind, key string, value []byte) projections.Row {
	if kind == projections.KindEntry {
		e, err := readmodel.DecodeKV(value)
		e.Agent, e.Key, _ = strings.Cut(key, ".")
		r := projections.EntryRow(&e)
		r.Bad = err
		return r
	}
	r := projections.Row{Kind: kind, Name: key, Stored: value}
	r.Version, r.Revision, r.Digest, r.Bad = readmodel.DecodePlace(value)
	return r
}
