// Package declared keeps the buckets of declared views. A bucket follows the view's table:
// what is written is read from there, and the table remembers which rows the bucket lacks.
package declared

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Buckets are the buckets of all declared views.
type Buckets struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	publisher *natsio.Publisher
	embedded  bool

	mu     sync.Mutex
	purged map[string]bool // by stream: another program has removed messages
}

// made marks the buckets that this package has made: others are not touched.
const made = "tidemark-declared-view"

// markerTTL is how long the end of a row is kept for watchers that were away.
const markerTTL = "1h"

// New returns the buckets on a connection. On an embedded server writes do not wait for the
// disk.
func New(nc *nats.Conn, embedded bool) (*Buckets, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	p, err := natsio.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	return &Buckets{nc: nc, js: js, publisher: p, embedded: embedded, purged: map[string]bool{}}, nil
}

// Purged notes that another program has removed messages of the stream of a bucket: Ensure
// then reports that rows may be missing. Other streams are ignored.
func (b *Buckets) Purged(stream, _ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.purged[stream]; known {
		b.purged[stream] = true
	}
}

// wasPurged reports whether another program has removed messages of a stream since the
// last call.
func (b *Buckets) wasPurged(stream string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	purged := b.purged[stream]
	b.purged[stream] = false
	return purged
}

// Bucket is the bucket of one view.
type Bucket struct {
	*Buckets
	name, prefix string
	seqs         map[string]uint64 // the bucket's sequence of a key, as last seen
}

func (b *Bucket) stream() string { return "KV_" + b.name }

// maxSeqs is how many sequences a bucket remembers.
const maxSeqs = 1 << 18

// Of returns the bucket of a name, which Ensure makes.
func (b *Buckets) Of(name string) *Bucket {
	bucket := &Bucket{b, name, "$KV." + name + ".", map[string]uint64{}}
	b.wasPurged(bucket.stream())
	return bucket
}

// Ensure makes the bucket if it is not there. lacks reports whether rows may be missing: it
// has nothing, although it may have had something before, or it was purged.
func (b *Bucket) Ensure(ctx context.Context) (lacks bool, err error) {
	purged := b.wasPurged(b.stream())
	if purged {
		clear(b.seqs)
	}
	s, err := b.js.Stream(ctx, b.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		cfg := natsio.KVConfig(b.name, "Rows of a declared view", 0)
		cfg.AllowMsgTTL, cfg.Metadata = true, map[string]string{made: "true"}
		if b.embedded {
			cfg.PersistMode = jetstream.AsyncPersistMode
		}
		clear(b.seqs)
		s, err = natsio.OpenStream(ctx, b.js, cfg)
	}
	if err != nil {
		return false, fmt.Errorf("bucket %s: %w", b.name, err)
	}
	return purged || s.CachedInfo().State.Msgs == 0, nil
}

// Sequences are the bucket's sequences of keys, 0 of a key that it lacks. Read before the
// rows, they prevent that Put replaces a newer row.
func (b *Bucket) Sequences(ctx context.Context, keys []string) ([]uint64, error) {
	if len(b.seqs) > maxSeqs {
		clear(b.seqs)
	}
	var subjects []string
	for _, key := range keys {
		if b.seqs[key] == 0 { // another engine may have put it since
			subjects = append(subjects, b.prefix+key)
		}
	}
	for part := range slices.Chunk(subjects, 1000) {
		for _, subject := range part {
			b.seqs[strings.TrimPrefix(subject, b.prefix)] = 0
		}
		err := natsio.LastMessages(ctx, b.nc, b.stream(), natsio.LastQuery{Subjects: part}, func(m *jetstream.RawStreamMsg) {
			b.seqs[strings.TrimPrefix(m.Subject, b.prefix)] = m.Sequence
		})
		if err != nil {
			clear(b.seqs)
			return nil, fmt.Errorf("read bucket %s: %w", b.name, err)
		}
	}
	all := make([]uint64, len(keys))
	for i, key := range keys {
		all[i] = b.seqs[key]
	}
	return all, nil
}

// headroom is for the headers of a row.
const headroom = 1 << 10

// Put writes rows, nil = the row is gone, and returns which keys were written: the others
// were changed by another writer meanwhile.
func (b *Bucket) Put(ctx context.Context, keys []string, seqs []uint64, rows [][]byte) (written []bool, err error) {
	written = make([]bool, len(keys))
	var msgs []*nats.Msg
	var at []int
	for i, key := range keys {
		if len(rows[i]) > b.Largest() {
			rows[i] = nil // no old row stays in its place
		}
		m := &nats.Msg{Subject: b.prefix + key, Data: rows[i], Header: nats.Header{
			jetstream.ExpectedLastSubjSeqHeader: []string{strconv.FormatUint(seqs[i], 10)},
		}}
		if rows[i] == nil {
			m.Header["KV-Operation"] = []string{"DEL"}
			m.Header[jetstream.MsgTTLHeader] = []string{markerTTL}
		}
		msgs, at = append(msgs, m), append(at, i)
	}
	for n, ack := range b.publisher.Publish(ctx, msgs...) {
		i := at[n]
		if ack.Err == nil {
			b.seqs[keys[i]], written[i] = ack.Seq, true
			continue
		}
		delete(b.seqs, keys[i])
		if !natsio.HasCode(ack.Err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
			err = fmt.Errorf("put %s into bucket %s: %w", keys[i], b.name, ack.Err)
		}
	}
	return written, err
}

// Largest is the number of bytes of the largest row that the bucket takes. A larger one is
// missing in the bucket.
func (b *Bucket) Largest() int { return int(b.nc.MaxPayload()) - headroom }

// All reads the rows of the bucket; nil = there is no bucket.
func (b *Bucket) All(ctx context.Context) (map[string][]byte, error) {
	kv, err := b.js.KeyValue(ctx, b.name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read bucket %s: %w", b.name, err)
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("read bucket %s: %w", b.name, err)
	}
	defer func() { _ = w.Stop() }()
	all := map[string][]byte{}
	for {
		select {
		case e := <-w.Updates():
			if e == nil {
				return all, ctx.Err()
			}
			all[e.Key()] = e.Value()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Keep removes the buckets of other views than those that names lists.
func (b *Buckets) Keep(ctx context.Context, names []string) error {
	list := b.js.ListStreams(ctx, jetstream.WithStreamListSubject("$KV.*.>"))
	var others []string
	for info := range list.Info() {
		name, bucket := strings.CutPrefix(info.Config.Name, "KV_")
		if bucket && info.Config.Metadata[made] != "" && !slices.Contains(names, name) {
			others = append(others, info.Config.Name)
		}
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list the buckets: %w", err)
	}
	for _, name := range others {
		if err := b.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove the bucket %s: %w", name, err)
		}
	}
	return nil
}
