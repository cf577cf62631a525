package natsio

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

var (
	_ readmodel.KeeperPast = Past{}
	_ readmodel.KeeperHot  = (*Hot)(nil)
)

// Ends implements readmodel.KeeperPast: the keys from the stream's index, their
// last events a thousand a request.
func (p Past) Ends(ctx context.Context, agent string, after uint64) ([]readmodel.DirtyEntry, error) {
	part := p.Partition(agent)
	filter := p.root + string(events.AgentStates(agent))
	info, err := p.streams[part].Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("list the keys of %s: %w", agent, err)
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for s := range info.State.Subjects {
		subjects = append(subjects, s)
	}
	var ends []readmodel.DirtyEntry
	var bad error
	err = lasts(ctx, p.nc, StreamName(part, p.Partitions()), multiLast{Subjects: subjects, UpToSeq: info.State.LastSeq}, func(msg *jetstream.RawStreamMsg) {
		if msg.Sequence <= after || bad != nil {
			return
		}
		rec, err := p.record(part, msg.Subject, msg.Sequence, msg.Data)
		if err != nil {
			bad = err
			return
		}
		change, err := projections.EntryOf(&rec)
		if err != nil {
			bad = err
			return
		}
		ends = append(ends, readmodel.DirtyEntry(change))
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, fmt.Errorf("read the entries of %s: %w", agent, err)
	}
	return ends, nil
}

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
		err := puts[i].ack.err
		if err != nil && !hasCode(err, codeWrongLastSequence, codeLastSeqInFlight) { // a newer row stays
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
	if err != nil && !hasCode(err, codeWrongLastSequence, codeLastSeqInFlight) {
		return fmt.Errorf("remove %s from bucket %s: %w", key, b.name, err)
	}
	return nil
}

// EachLast yields the last event of every stream that a pattern names, once,
// as they are now: how what lives in memory is found again after a start.
func (j *Journal) EachLast(ctx context.Context, pattern events.Stream, yield func(events.Record)) error {
	for p := range j.streams {
		if err := j.eachLast(ctx, p, pattern, yield); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) eachLast(ctx context.Context, p int, pattern events.Stream, yield func(events.Record)) error {
	c, end, err := passing(ctx, j.js, StreamName(p, len(j.streams)), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubjects: []string{j.root + string(pattern)},
	})
	if err != nil {
		return fmt.Errorf("look through %s: %w", pattern, err)
	}
	defer end()
	info, err := c.Info(ctx)
	if err != nil || info.NumPending == 0 {
		return err
	}
	it, err := c.Messages(readQuickly(j.nc)...)
	if err != nil {
		return fmt.Errorf("look through %s: %w", pattern, err)
	}
	defer it.Stop()
	for consumer := ""; ; {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("look through %s: %w", pattern, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		last := true
		switch consumer {
		case "":
			consumer = meta.Consumer
		case meta.Consumer:
		default: // the reader was made again, and then brings every event from there on
			now, err := j.streams[p].GetLastMsgForSubject(ctx, msg.Subject())
			if err != nil {
				return fmt.Errorf("look through %s: %w", pattern, err)
			}
			last = now.Sequence == meta.Sequence.Stream
		}
		if rec, err := j.record(p, msg.Subject(), meta.Sequence.Stream, msg.Data()); err == nil && last {
			yield(rec)
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
}
