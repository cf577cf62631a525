package hot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Keeps are the kinds of rows that are hot, each with its bucket's TTL; 0 = for
// ever.
func (t *Hot) Keeps() map[string]time.Duration {
	keeps := map[string]time.Duration{}
	for kind, b := range t.kinds() {
		keeps[kind] = b.ttl
	}
	return keeps
}

func (t *Hot) kinds() map[string]*Bucket {
	all := map[string]*Bucket{readmodel.KindEntry: t.entries}
	for kind, b := range t.docs {
		all[kind] = b
	}
	return all
}

// EachRow yields every value in the view's buckets as a row, one per key, in no
// order. Bad is set where a value cannot be read.
func (t *Hot) EachRow(ctx context.Context, yield func(verify.Row)) error {
	for kind, b := range t.kinds() {
		if err := b.eachRow(ctx, kind, yield); err != nil {
			return err
		}
	}
	return nil
}

// RowOf yields the row of one stream, if there is one.
func (t *Hot) RowOf(ctx context.Context, s events.Stream, yield func(verify.Row)) error {
	b, key := t.place(s)
	if b == nil || !events.Stream(key).Valid() {
		return nil
	}
	msg, err := b.stream.GetLastMsgForSubject(ctx, b.root+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && gone(msg.Header) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s from bucket %s: %w", key, b.name, err)
	}
	kind, _, _ := readmodel.RowOf(s)
	yield(row(kind, key, msg.Data))
	return nil
}

func (b *Bucket) eachRow(ctx context.Context, kind string, yield func(verify.Row)) error {
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

func row(kind, key string, value []byte) verify.Row {
	if kind == readmodel.KindEntry {
		e, err := readmodel.DecodeKV(value)
		e.Agent, e.Key, _ = strings.Cut(key, ".")
		r := verify.EntryRow(&e)
		r.Bad = err
		return r
	}
	r := verify.Row{Kind: kind, Name: key, Stored: value}
	r.Version, r.Revision, r.Digest, r.Bad = readmodel.DecodePlace(value)
	return r
}

// bucketPlace is how many of a bucket's sequences are one place.
const bucketPlace = 64

var _ verify.Places = (*Hot)(nil)

// Places implements projections.Places: stretches of the buckets' sequences.
func (t *Hot) Places(ctx context.Context) (int, error) {
	_, _, n, err := t.stretch(ctx, -1)
	return n, err
}

// stretch finds the bucket of a place and the sequence at which it begins; all
// is how many places there are before it, with -1 in all.
func (t *Hot) stretch(ctx context.Context, place int) (kind string, from uint64, all int, err error) {
	for _, kind := range [...]string{readmodel.KindEntry, readmodel.KindTask, readmodel.KindSession, readmodel.KindConfig} {
		b := t.kinds()[kind]
		if b == nil {
			continue
		}
		info, err := b.stream.Info(ctx)
		if err != nil {
			return "", 0, 0, fmt.Errorf("look at bucket %s: %w", b.name, err)
		}
		if info.State.Msgs == 0 {
			continue
		}
		n := int((info.State.LastSeq-info.State.FirstSeq)/bucketPlace) + 1
		if place >= all && place < all+n {
			return kind, info.State.FirstSeq + uint64(place-all)*bucketPlace, all, nil
		}
		all += n
	}
	return "", 0, all, nil
}

// At implements projections.Places.
func (t *Hot) At(ctx context.Context, place int) ([]events.Stream, error) {
	kind, from, _, err := t.stretch(ctx, place)
	if err != nil || kind == "" {
		return nil, err
	}
	b := t.kinds()[kind]
	batch, err := jetstreamext.GetBatch(ctx, b.js, "KV_"+b.name, bucketPlace, jetstreamext.GetBatchSeq(from))
	if err != nil {
		return nil, fmt.Errorf("look into bucket %s: %w", b.name, err)
	}
	var streams []events.Stream
	for msg, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("look into bucket %s: %w", b.name, err)
		}
		if key := strings.TrimPrefix(msg.Subject, b.root); msg.Sequence < from+bucketPlace && !gone(msg.Header) {
			streams = append(streams, readmodel.NameOfRow(kind, key))
		}
	}
	return streams, nil
}
