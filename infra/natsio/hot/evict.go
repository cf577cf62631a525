package hot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

var _ tiers.HydrationBucket = (*Hot)(nil)

// Has implements tiers.HydrationBucket.
func (t *Hot) Has(ctx context.Context, agent string, keys []string) (map[string]bool, error) {
	subjects := make([]string, len(keys))
	for i, key := range keys {
		subjects[i] = t.entries.prefix + agent + "." + key
	}
	rows, err := t.entries.lastMessages(ctx, subjects, history.Linearizable)
	if err != nil {
		return nil, err
	}
	exists := make(map[string]bool, len(rows))
	for name, row := range rows {
		exists[strings.TrimPrefix(name, agent+".")] = !isMarker(row.Header)
	}
	return exists, nil
}

// Evict implements tiers.HydrationBucket. It replaces each value with a marker of
// the same revision, so that a concurrent fill cannot put an older value.
func (t *Hot) Evict(ctx context.Context, agent string) error {
	b := t.entries
	info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(b.prefix+agent+".>"))
	if err != nil {
		return fmt.Errorf("list %s in bucket %s: %w", agent, b.name, err)
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for s := range info.State.Subjects {
		subjects = append(subjects, s)
	}
	rows, err := b.lastMessages(ctx, subjects, history.Linearizable)
	if err != nil {
		return err
	}
	var puts []put
	for key, row := range rows {
		if !isMarker(row.Header) {
			puts = append(puts, put{key: key, revision: revisionOf(row), seq: row.Sequence})
			b.seqs.remove(key)
		}
	}
	// gofail: var hotEvict struct{}
	// return context.DeadlineExceeded
	b.send(ctx, puts, t.Header())
	for i := range puts {
		err := puts[i].ack.Err
		if err != nil && !natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) { // a newer row stays
			return fmt.Errorf("evict %s from bucket %s: %w", agent, b.name, err)
		}
	}
	return nil
}

// maxKeepInterval bounds how long a row that the bucket has lost stays unnoticed.
const maxKeepInterval = 5 * time.Minute

// KeepInterval is the time between two calls of Keep for an agent, a third of the
// bucket's TTL: a row is put again before it lapses, also when one call fails.
func (t *Hot) KeepInterval() time.Duration {
	if ttl := t.entries.TTL(); ttl > 0 {
		return min(ttl/3, maxKeepInterval)
	}
	return maxKeepInterval
}

// Keep implements tiers.HydrationBucket. A row that the view has written meanwhile
// stays.
func (t *Hot) Keep(ctx context.Context, agent string, keys []string) (map[string]bool, error) {
	b := t.entries
	subjects, missing := make([]string, len(keys)), make(map[string]bool, len(keys))
	for i, key := range keys {
		subjects[i], missing[key] = b.prefix+agent+"."+key, true
	}
	rows, err := b.lastMessages(ctx, subjects, history.Linearizable)
	if err != nil {
		return nil, err
	}
	var puts []put
	ttl := b.TTL()
	for name, row := range rows {
		if isMarker(row.Header) {
			continue
		}
		delete(missing, strings.TrimPrefix(name, agent+"."))
		if ttl > 0 && b.age(row.Time) > ttl/3 {
			puts = append(puts, put{key: name, value: row.Data, revision: revisionOf(row), seq: row.Sequence})
			b.seqs.remove(name)
		}
	}
	if t.foreign.Load() {
		return nil, nil // the puts' position would claim the bucket for this journal
	}
	b.send(ctx, puts, t.Header())
	for i := range puts {
		err := puts[i].ack.Err
		if err != nil && !natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
			return nil, fmt.Errorf("put a row of %s into bucket %s again: %w", agent, b.name, err)
		}
	}
	return missing, nil
}

// Remove implements tiers.HotTier. It leaves a row that the view has written
// since.
func (t *Hot) Remove(ctx context.Context, e *readmodel.Entry) error {
	b, key := t.entries, e.Agent+"."+e.Key
	last, err := natsio.LastMessage(ctx, b.nc, b.stream, b.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && revisionOf(last) != e.Revision {
		return nil
	}
	if err == nil {
		b.log.Warn("a value that is not in the journal is removed from the bucket", "bucket", b.name, "key", key)
		_, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: b.prefix + key, Header: nats.Header{
			kvOperationHeader: []string{"DEL"}, positionHeader: t.Header()[positionHeader],
		}}, jetstream.WithExpectLastSequencePerSubject(last.Sequence))
	}
	if err != nil && !natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
		return fmt.Errorf("remove %s from bucket %s: %w", key, b.name, err)
	}
	return nil
}
