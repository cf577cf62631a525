package hot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// TTLs returns the TTL of each kind of row that has a bucket; 0 = rows do not
// expire.
func (t *Hot) TTLs() map[string]time.Duration {
	ttls := map[string]time.Duration{}
	for kind, b := range t.byKind() {
		ttls[kind] = b.TTL()
	}
	return ttls
}

func (t *Hot) byKind() map[string]*Bucket {
	all := map[string]*Bucket{readmodel.KindEntry: t.entries}
	for kind, b := range t.docs {
		all[kind] = b
	}
	return all
}

// EachRow yields the value of every key of the view's buckets as a row, in no
// order. Row.Bad is the error of an invalid value.
func (t *Hot) EachRow(ctx context.Context, yield func(verify.Row)) error {
	for kind, b := range t.byKind() {
		if err := b.eachRow(ctx, kind, yield); err != nil {
			return err
		}
	}
	return nil
}

// RowOf yields the row of one aggregate, if it exists.
func (t *Hot) RowOf(ctx context.Context, s events.AggregateName, yield func(verify.Row)) error {
	b, key := t.locate(s)
	if b == nil || !events.AggregateName(key).Valid() {
		return nil
	}
	msg, err := natsio.LastMessage(ctx, b.nc, b.stream, b.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && isMarker(msg.Header) {
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
	defer func() { _ = w.Stop() }()
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
	r.Version, r.Revision, r.Digest, r.Bad = readmodel.DecodeRevision(value)
	return r
}

// segmentSize is the number of sequences of a bucket that form one segment.
const segmentSize = 64

var _ verify.Chunks = (*Hot)(nil)

// Chunks implements verify.Chunks: the number of segments, each segmentSize
// consecutive sequences of a bucket.
func (t *Hot) Chunks(ctx context.Context) (int, error) {
	_, _, n, err := t.segment(ctx, -1)
	return n, err
}

// segment returns the kind of row and the first sequence of a segment; all is
// the number of segments in the buckets before it. With index -1, all is the
// number of segments in all buckets.
func (t *Hot) segment(ctx context.Context, index int) (kind string, from uint64, all int, err error) {
	for _, kind := range [...]string{readmodel.KindEntry, readmodel.KindTask, readmodel.KindSession, readmodel.KindReminder, readmodel.KindConfig, readmodel.KindClaim} {
		b := t.byKind()[kind]
		if b == nil {
			continue
		}
		info, err := b.stream.Info(ctx)
		if err != nil {
			return "", 0, 0, fmt.Errorf("read the state of bucket %s: %w", b.name, err)
		}
		if info.State.Msgs == 0 {
			continue
		}
		n := int((info.State.LastSeq-info.State.FirstSeq)/segmentSize) + 1
		if index >= all && index < all+n {
			return kind, info.State.FirstSeq + uint64(index-all)*segmentSize, all, nil
		}
		all += n
	}
	return "", 0, all, nil
}

// At implements verify.Chunks.
func (t *Hot) At(ctx context.Context, index int) ([]events.AggregateName, error) {
	kind, from, _, err := t.segment(ctx, index)
	if err != nil || kind == "" {
		return nil, err
	}
	b := t.byKind()[kind]
	var streams []events.AggregateName
	for page, end := (natsio.PageQuery{FromSeq: from, Batch: segmentSize}), from+segmentSize; ; {
		msgs, more, err := page.Page(ctx, b.js.Conn(), "KV_"+b.name)
		if err != nil {
			return nil, fmt.Errorf("read a segment of bucket %s: %w", b.name, err)
		}
		for _, msg := range msgs {
			if key := strings.TrimPrefix(msg.Subject, b.prefix); msg.Sequence < end && !isMarker(msg.Header) {
				streams = append(streams, readmodel.NameOfRow(kind, key))
			}
			page.FromSeq = msg.Sequence + 1
		}
		if !more || page.FromSeq >= end {
			return streams, nil
		}
	}
}
