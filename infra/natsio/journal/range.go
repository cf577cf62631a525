package journal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Range implements history.JournalStore.
func (j *Journal) Range(ctx context.Context, r history.Range, yield func(history.Message) error) error {
	switch {
	case r.LastOnly:
		return j.lastPerAggregate(ctx, r.Partition, r.Aggregate, yield)
	case r.Aggregate != "":
		return j.aggregateRange(ctx, r, yield)
	case r.UpTo > 0 && r.UpTo <= r.After:
		return nil
	case r.UpTo == r.After+1:
		return j.single(ctx, r.Partition, r.UpTo, yield)
	}
	return j.Raw(ctx, r.Partition, RawRange{FromRevision: r.After + 1, ToRevision: r.UpTo}, func(msg jetstream.Msg, revision uint64) error {
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		m, err := j.message(ctx, r.Partition, msg.Subject(), revision, meta.Timestamp, msg.Data())
		if err != nil {
			return err
		}
		return yield(m)
	})
}

// single yields the event at one revision with a get request.
func (j *Journal) single(ctx context.Context, partition int, revision uint64, yield func(history.Message) error) error {
	msg, err := natsio.MessageAt(ctx, j.nc, j.streams[partition], revision)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read revision %d of partition %d: %w", revision, partition, err)
	}
	m, err := j.message(ctx, partition, msg.Subject, msg.Sequence, msg.Time, msg.Data)
	if err != nil {
		return err
	}
	return yield(m)
}

// The first page of a search is small, because often it is enough.
const (
	firstPage = 20
	laterPage = 500
)

// aggregateRange reads pages with batched direct gets, which is faster than a
// consumer for each search.
func (j *Journal) aggregateRange(ctx context.Context, r history.Range, yield func(history.Message) error) error {
	if !events.Pattern(r.Aggregate).Valid() {
		return nil
	}
	stream := natsio.StreamName(r.Partition, len(j.streams))
	page := natsio.PageQuery{Subject: j.root + string(r.Aggregate), FromSeq: r.After + 1, Batch: firstPage}
	if !r.Since.IsZero() {
		page.FromSeq, page.FromTime = 0, &r.Since
	}
	take := func(msg *jetstream.RawStreamMsg) (more bool, err error) {
		if r.UpTo > 0 && msg.Sequence > r.UpTo {
			return false, nil
		}
		m, err := j.message(ctx, r.Partition, msg.Subject, msg.Sequence, msg.Time, msg.Data)
		if err != nil {
			return false, err
		}
		return true, yield(m)
	}
	last := uint64(0) // revision of the last event read; 0 = none
	for {
		msgs, more, err := page.Page(ctx, j.nc, stream)
		if err != nil {
			return fmt.Errorf("read %s: %w", r.Aggregate, err)
		}
		for _, msg := range msgs {
			if more, err := take(msg); !more || err != nil {
				return err
			}
			last = msg.Sequence
		}
		if !more {
			next, err := j.nextFromLeader(ctx, &r, last)
			if next == nil || err != nil {
				return err
			}
			if more, err := take(next); !more || err != nil {
				return err
			}
			last = next.Sequence
		}
		page.FromSeq, page.FromTime, page.Batch = last+1, nil, laterPage
	}
}

// nextFromLeader returns the event that follows the last one which a replica has
// delivered of a range; nil = the replica has delivered all. last 0 = it has
// delivered none.
func (j *Journal) nextFromLeader(ctx context.Context, r *history.Range, last uint64) (*jetstream.RawStreamMsg, error) {
	if j.Replicas() == 1 || r.UpTo > 0 && last >= r.UpTo {
		return nil, nil
	}
	from := `"seq":` + strconv.FormatUint(max(last, r.After)+1, 10)
	if last == 0 && !r.Since.IsZero() {
		from = `"start_time":"` + r.Since.UTC().Format(time.RFC3339Nano) + `"`
	}
	msg, err := j.leaderGet(ctx, r.Partition, `{`+from+`,"next_by_subj":"`+j.root+string(r.Aggregate)+`"}`)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.Aggregate, err)
	}
	return msg, nil
}

// lastPerAggregate yields the last event of every aggregate that a pattern matches.
// Where a replica that lags answers, it yields an aggregate again with its later
// event.
func (j *Journal) lastPerAggregate(ctx context.Context, p int, pattern events.AggregateName, yield func(history.Message) error) error {
	failed := func(err error) error { return fmt.Errorf("read the last events of %s: %w", pattern, err) }
	until, err := j.endOf(ctx, p, j.root+string(pattern), math.MaxUint64)
	if err != nil {
		return err
	}
	c, end, err := natsio.EphemeralConsumer(ctx, j.js, natsio.StreamName(p, len(j.streams)), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubjects: []string{j.root + string(pattern)},
	})
	if err != nil {
		return failed(err)
	}
	defer end()
	info, err := c.Info(ctx)
	if err != nil || until.empty(info.NumPending) {
		return err
	}
	stream, err := j.streams[p].Info(ctx)
	if err != nil {
		return failed(err)
	}
	it, err := c.Messages(natsio.LastPerSubjectOptions(stream)...)
	if err != nil {
		return failed(err)
	}
	defer it.Stop()
	for consumer := ""; ; {
		msg, err := until.next(ctx, it)
		if err != nil {
			return failed(err)
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
		default: // a reset consumer delivers every later event, not only the last ones
			now, err := natsio.LastMessage(ctx, j.nc, j.streams[p], msg.Subject())
			if err != nil {
				return failed(err)
			}
			last = now.Sequence == meta.Sequence.Stream
		}
		if last {
			m, err := j.message(ctx, p, msg.Subject(), meta.Sequence.Stream, meta.Timestamp, msg.Data())
			if err == nil {
				err = yield(m)
			}
			if err != nil {
				return err
			}
		}
		if until.reached(meta) {
			return nil
		}
	}
}

// message decodes a stored message; Bad is set if it is not a valid event. It fails
// if the key of an encrypted event cannot be read now.
func (j *Journal) message(ctx context.Context, p int, subject string, seq uint64, at time.Time, data []byte) (m history.Message, err error) {
	name := events.AggregateName(strings.TrimPrefix(subject, j.root))
	m.Body = data
	m.Record, m.Bad = events.DecodeAt(data, name, p, seq)
	if m.Bad == nil && j.opener != nil {
		if err := j.opener.Open(ctx, &m.Event); errors.Is(err, events.ErrDamaged) {
			m.Record, m.Bad = events.Record{}, err
		} else if err != nil {
			return m, fmt.Errorf("revision %d of partition %d: %w", seq, p, err)
		}
	}
	if m.Bad != nil {
		m.Name, m.Partition, m.Revision, m.RecordedAt = name, p, seq, at.UTC()
	}
	return m, nil
}
