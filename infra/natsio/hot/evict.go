package hot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

var (
	_ tiers.HydrationBucket = (*Hot)(nil)
)

// Has implements readmodel.KeeperHot.
func (t *Hot) Has(ctx context.Context, agent string, keys []string) (map[string]bool, error) {
	subjects := make([]string, len(keys))
	for i, key := range keys {
		subjects[i] = t.entries.root + agent + "." + key
	}
	rows, err := t.entries.lastOf(ctx, subjects)
	if err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(rows))
	for name, row := range rows {
		there[strings.TrimPrefix(name, agent+".")] = !gone(row.Header)
	}
	return there, nil
}

// Evict implements readmodel.KeeperHot. Each key leaves a marker that says what
// went, so that a fill under way cannot put something older in its place.
func (t *Hot) Evict(ctx context.Context, agent string) error {
	b := t.entries
	info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(b.root+agent+".>"))
	if err != nil {
		return fmt.Errorf("list %s in bucket %s: %w", agent, b.name, err)
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for s := range info.State.Subjects {
		subjects = append(subjects, s)
	}
	rows, err := b.lastOf(ctx, subjects)
	if err != nil {
		return err
	}
	var puts []put
	for key, row := range rows {
		if !gone(row.Header) {
			puts = append(puts, put{key: key, revision: revisionOf(row), seq: row.Sequence})
			b.seqs.forget(key)
		}
	}
	b.send(ctx, puts, t.Header())
	for i := range puts {
		err := puts[i].ack.Err
		if err != nil && !natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) { // a newer row stays
			return fmt.Errorf("evict %s from bucket %s: %w", agent, b.name, err)
		}
	}
	return nil
}

// Remove implements readmodel.HotTier. What the view has put in its place
// meanwhile stays.
func (t *Hot) Remove(ctx context.Context, e *readmodel.Entry) error {
	b, key := t.entries, e.Agent+"."+e.Key
	last, err := b.stream.GetLastMsgForSubject(ctx, b.root+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && revisionOf(last) != e.Revision {
		return nil
	}
	if err == nil {
		b.log.Warn("a hot value that the journal does not know is removed", "bucket", b.name, "key", key)
		_, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: b.root + key, Header: nats.Header{
			kvOperationHeader: []string{"DEL"}, positionHeader: t.Header()[positionHeader],
		}}, jetstream.WithExpectLastSequencePerSubject(last.Sequence))
	}
	if err != nil && !natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
		return fmt.Errorf("remove %s from bucket %s: %w", key, b.name, err)
	}
	return nil
}
