package quarantine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// QuarantineBucket is where views keep what they leave out. Only engines and
// their operators write it.
const (
	QuarantineBucket = "TIDEMARK_QUARANTINE"
	QuarantineRoot   = "$KV." + QuarantineBucket + "."
)

// Quarantine is the bucket of what views hold: one key per view and aggregate,
// and beside it, under the same key with ".ask", what somebody wants done.
type Store struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	log *slog.Logger

	mu      sync.Mutex
	known   map[string]record // by key, markers included
	changed chan struct{}
}

// record is a key's last value; an empty one is a marker.
type record struct {
	seq  uint64
	body []byte
}

var _ quarantine.Store = (*Store)(nil)

// OpenQuarantine opens the bucket, making it where there is none.
func Open(ctx context.Context, nc *nats.Conn, log *slog.Logger) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	q := &Store{nc: nc, js: js, log: log, known: map[string]record{}, changed: make(chan struct{})}
	q.kv, err = js.KeyValue(ctx, QuarantineBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		q.kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: QuarantineBucket, Description: "Aggregates that views cannot apply and leave out",
			History: 1, Storage: jetstream.FileStorage, Replicas: natsio.Replicas(nc, 0),
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open the bucket of quarantined aggregates: %w", err)
	}
	return q, nil
}

// askSuffix marks the key of what is asked.
const askSuffix = ".ask"

// keyOf names an aggregate of a view. A stream's name may be longer than a key
// should be, or hold what no key may, where somebody else made it.
func keyOf(view string, partition int, s events.Stream) string {
	sum := sha256.Sum256([]byte(s))
	return view + "." + strconv.Itoa(partition) + "." + hex.EncodeToString(sum[:16])
}

// Held implements projections.Quarantine, by the bucket's leader. A wish for
// what is held no longer goes with it.
func (q *Store) Held(ctx context.Context, view string, partition int) ([]quarantine.Held, error) {
	s, err := q.js.Stream(ctx, "KV_"+QuarantineBucket)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(QuarantineRoot+view+"."+strconv.Itoa(partition)+".>"))
	if err != nil {
		return nil, err
	}
	found := map[string]record{}
	for subject := range info.State.Subjects {
		msg, err := natsio.LeaderGet(ctx, q.nc, "KV_"+QuarantineBucket, natsio.LastBySubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rec := record{seq: msg.Sequence, body: msg.Data} // a marker's body is empty
		found[strings.TrimPrefix(subject, QuarantineRoot)] = rec
		q.learn(strings.TrimPrefix(subject, QuarantineRoot), rec)
	}
	for key, rec := range found {
		if of, isAsk := strings.CutSuffix(key, askSuffix); isAsk && len(rec.body) > 0 && len(found[of].body) == 0 {
			if err := q.remove(ctx, key); err != nil {
				return nil, err
			}
		}
	}
	return heldIn(found)
}

// Known implements projections.Quarantine.
func (q *Store) Known(view string, partition int) []quarantine.Held {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.known) == 0 {
		return nil
	}
	prefix := view + "." + strconv.Itoa(partition) + "."
	mine := map[string]record{}
	for key, rec := range q.known {
		if strings.HasPrefix(key, prefix) {
			mine[key] = rec
		}
	}
	all, _ := heldIn(mine) // what cannot be read was said when it was learned
	return all
}

// Holds tells whether a view is known to leave an aggregate out.
func (q *Store) Holds(view string, partition int, s events.Stream) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.known) == 0 {
		return false
	}
	rec := q.known[keyOf(view, partition, s)]
	var h quarantine.Held
	return len(rec.body) > 0 && json.Unmarshal(rec.body, &h) == nil && h.Waits()
}

// All is everything held, by view, partition and stream, for operators.
func (q *Store) All(ctx context.Context) ([]quarantine.Held, error) {
	w, err := q.kv.WatchAll(ctx)
	if err != nil {
		return nil, fmt.Errorf("list what is quarantined: %w", err)
	}
	defer func() { _ = w.Stop() }() // ends with the watch; nothing to add
	found := map[string]record{}
	for {
		select {
		case e, open := <-w.Updates():
			switch {
			case !open:
				return nil, errors.New("list what is quarantined: the watch ended early")
			case e == nil:
				all, err := heldIn(found)
				sort.Slice(all, func(i, j int) bool { return all[i].Since.Before(all[j].Since) })
				return all, err
			case e.Operation() == jetstream.KeyValuePut:
				found[e.Key()] = record{seq: e.Revision(), body: e.Value()}
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// heldIn reads records, each with what is asked, by stream.
func heldIn(records map[string]record) (all []quarantine.Held, bad error) {
	for key, rec := range records {
		if strings.HasSuffix(key, askSuffix) || len(rec.body) == 0 {
			continue
		}
		var h quarantine.Held
		if err := json.Unmarshal(rec.body, &h); err != nil {
			bad = fmt.Errorf("key %s of bucket %s is not ours: %w", key, QuarantineBucket, err)
			continue
		}
		h.Asked = string(records[key+askSuffix].body)
		all = append(all, h)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Stream < all[j].Stream })
	return all, bad
}

// Put implements projections.Quarantine.
func (q *Store) Put(ctx context.Context, h quarantine.Held) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	key := keyOf(h.View, h.Partition, h.Stream)
	seq, err := q.kv.Put(ctx, key, body)
	if err == nil {
		q.learn(key, record{seq, body})
	}
	return err
}

// Remove implements projections.Quarantine.
func (q *Store) Remove(ctx context.Context, h quarantine.Held) error {
	return q.remove(ctx, keyOf(h.View, h.Partition, h.Stream))
}

// Done implements projections.Quarantine.
func (q *Store) Done(ctx context.Context, h quarantine.Held) error {
	return q.remove(ctx, keyOf(h.View, h.Partition, h.Stream)+askSuffix)
}

// remove purges a key, so that nothing of it is kept but the marker.
func (q *Store) remove(ctx context.Context, key string) error {
	if err := q.kv.Purge(ctx, key); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.known[key] = record{seq: q.known[key].seq} // the watch tells the marker's own sequence
	return nil
}

// learn takes what a key holds, unless something newer is known.
func (q *Store) learn(key string, rec record) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if rec.seq <= q.known[key].seq {
		return
	}
	q.known[key] = rec
	close(q.changed)
	q.changed = make(chan struct{})
}

// Changed implements projections.Quarantine.
func (q *Store) Changed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed
}
