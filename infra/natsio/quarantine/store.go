// Package quarantine stores in a KV bucket which events of which aggregates a view
// cannot apply, and carries requests to retry or drop them. The views decide what they
// quarantine.
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

// BucketName is the KV bucket of quarantined aggregates, and SubjectPrefix the
// prefix of its subjects. Only engines and their operators write the bucket.
const (
	BucketName    = "TIDEMARK_QUARANTINE"
	SubjectPrefix = "$KV." + BucketName + "."
)

// Store is the bucket of quarantined aggregates: one key for each view and
// aggregate, and the same key with the suffix ".ask" for an operator's request.
type Store struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	log *slog.Logger

	keeper natsio.StreamKeeper

	mu      sync.Mutex
	known   map[string]keyState // by key, with markers
	changed chan struct{}
}

// keyState is the last value of a key; an empty body is a marker. seq is 0 for a value
// of a bucket that is gone.
type keyState struct {
	seq  uint64
	body []byte
}

var _ quarantine.Store = (*Store)(nil)

// Open opens the bucket and creates it if it is missing.
func Open(ctx context.Context, nc *nats.Conn, log *slog.Logger) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	q := &Store{nc: nc, js: js, log: log, known: map[string]keyState{}, changed: make(chan struct{})}
	q.keeper = natsio.StreamKeeper{JS: js, Config: bucketConfig(), Log: log}
	if q.kv, err = natsio.OpenKV(ctx, js, bucketConfig()); err != nil {
		return nil, fmt.Errorf("open the bucket of quarantined aggregates: %w", err)
	}
	return q, nil
}

// Check makes the bucket again if it was removed, with the entries that this engine
// knows. lost reports whether that happened; requests of operators are lost. What could
// not be stored is tried again by the next Check.
func (q *Store) Check(ctx context.Context) (lost bool, few string, err error) {
	lost, few, err = q.keeper.Check(ctx)
	if lost {
		q.madeAgain()
	}
	if err != nil {
		return lost, few, err
	}
	for key, state := range q.lacking() {
		seq, err := q.kv.Create(ctx, key, state.body)
		switch {
		case err == nil:
			q.update(key, keyState{seq, state.body})
		case !errors.Is(err, jetstream.ErrKeyExists): // else another engine was first
			return lost, few, fmt.Errorf("store a quarantined aggregate again: %w", err)
		}
	}
	return lost, few, nil
}

// madeAgain notes that the bucket is a new one: it counts from 1, and lacks all entries.
func (q *Store) madeAgain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, state := range q.known {
		if len(state.body) == 0 || strings.HasSuffix(key, requestSuffix) {
			delete(q.known, key)
		} else {
			q.known[key] = keyState{body: state.body}
		}
	}
}

// lacking are the known entries that the bucket was not seen to have since it was made.
func (q *Store) lacking() map[string]keyState {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := map[string]keyState{}
	for key, state := range q.known {
		if state.seq == 0 && len(state.body) > 0 {
			all[key] = state
		}
	}
	return all
}

func bucketConfig() jetstream.StreamConfig {
	return natsio.KVConfig(BucketName, "Aggregates that views cannot apply and leave out", 0)
}

// requestSuffix ends the key of a request.
const requestSuffix = ".ask"

// keyOf returns the key of a view's aggregate. It contains a hash, because the name
// of an aggregate that another program wrote may be too long for a key or contain
// characters that a key cannot.
func keyOf(view string, partition int, s events.AggregateName) string {
	sum := sha256.Sum256([]byte(s))
	return view + "." + strconv.Itoa(partition) + "." + hex.EncodeToString(sum[:16])
}

// Entries implements quarantine.Store. It reads from the bucket's leader and removes
// requests for aggregates that are no longer quarantined.
func (q *Store) Entries(ctx context.Context, view string, partition int) ([]quarantine.Entry, error) {
	s, err := q.js.Stream(ctx, "KV_"+BucketName)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(SubjectPrefix+view+"."+strconv.Itoa(partition)+".>"))
	if err != nil {
		return nil, err
	}
	found := map[string]keyState{}
	for subject := range info.State.Subjects {
		msg, err := natsio.LeaderGet(ctx, q.nc, "KV_"+BucketName, natsio.LastBySubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		state := keyState{seq: msg.Sequence, body: msg.Data} // a marker's body is empty
		found[strings.TrimPrefix(subject, SubjectPrefix)] = state
		q.update(strings.TrimPrefix(subject, SubjectPrefix), state)
	}
	for key, state := range found {
		if of, isRequest := strings.CutSuffix(key, requestSuffix); isRequest && len(state.body) > 0 && len(found[of].body) == 0 {
			if err := q.remove(ctx, key); err != nil {
				return nil, err
			}
		}
	}
	return decodeAll(found)
}

// Cached implements quarantine.Store.
func (q *Store) Cached(view string, partition int) []quarantine.Entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.known) == 0 {
		return nil
	}
	prefix := view + "." + strconv.Itoa(partition) + "."
	mine := map[string]keyState{}
	for key, state := range q.known {
		if strings.HasPrefix(key, prefix) {
			mine[key] = state
		}
	}
	all, _ := decodeAll(mine) // invalid values are skipped; Entries reports them
	return all
}

// Quarantined reports whether a view has quarantined an aggregate, as far as Cached
// has read the bucket.
func (q *Store) Quarantined(view string, partition int, s events.AggregateName) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.known) == 0 {
		return false
	}
	state := q.known[keyOf(view, partition, s)]
	var h quarantine.Entry
	return len(state.body) > 0 && json.Unmarshal(state.body, &h) == nil && h.Waits()
}

// All returns all quarantined aggregates of all views, oldest first.
func (q *Store) All(ctx context.Context) ([]quarantine.Entry, error) {
	w, err := q.kv.WatchAll(ctx)
	if err != nil {
		return nil, fmt.Errorf("list what is quarantined: %w", err)
	}
	defer func() { _ = w.Stop() }()
	found := map[string]keyState{}
	for {
		select {
		case e, open := <-w.Updates():
			switch {
			case !open:
				return nil, errors.New("list what is quarantined: the watch ended early")
			case e == nil:
				all, err := decodeAll(found)
				sort.Slice(all, func(i, j int) bool { return all[i].Since.Before(all[j].Since) })
				return all, err
			case e.Operation() == jetstream.KeyValuePut:
				found[e.Key()] = keyState{seq: e.Revision(), body: e.Value()}
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// decodeAll decodes the values of keys, each with its request, sorted by
// aggregate. It skips invalid values; bad is the error of one of them.
func decodeAll(keys map[string]keyState) (all []quarantine.Entry, bad error) {
	for key, state := range keys {
		if strings.HasSuffix(key, requestSuffix) || len(state.body) == 0 {
			continue
		}
		var h quarantine.Entry
		if err := json.Unmarshal(state.body, &h); err != nil {
			bad = fmt.Errorf("decode key %s of bucket %s: %w", key, BucketName, err)
			continue
		}
		h.Request = string(keys[key+requestSuffix].body)
		all = append(all, h)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Stream < all[j].Stream })
	return all, bad
}

// Put implements quarantine.Store.
func (q *Store) Put(ctx context.Context, h quarantine.Entry) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	key := keyOf(h.View, h.Partition, h.Stream)
	seq, err := q.kv.Put(ctx, key, body)
	if err == nil {
		q.update(key, keyState{seq, body})
	}
	return err
}

// Remove implements quarantine.Store.
func (q *Store) Remove(ctx context.Context, h quarantine.Entry) error {
	return q.remove(ctx, keyOf(h.View, h.Partition, h.Stream))
}

// Done implements quarantine.Store.
func (q *Store) Done(ctx context.Context, h quarantine.Entry) error {
	return q.remove(ctx, keyOf(h.View, h.Partition, h.Stream)+requestSuffix)
}

// remove purges a key; only the marker stays.
func (q *Store) remove(ctx context.Context, key string) error {
	if err := q.kv.Purge(ctx, key); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.known[key] = keyState{seq: q.known[key].seq} // the watch delivers the marker's sequence
	return nil
}

// update sets the known value of a key, unless a newer one is known.
func (q *Store) update(key string, state keyState) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if state.seq <= q.known[key].seq {
		return
	}
	q.known[key] = state
	close(q.changed)
	q.changed = make(chan struct{})
}

// Changed implements quarantine.Store.
func (q *Store) Changed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed
}
