package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Last implements commands.Journal.
func (j *Journal) Last(ctx context.Context, s events.Stream, f history.Freshness) (events.Record, bool, error) {
	p := j.Partition(s.ID())
	subject := j.root + string(s)
	var msg *jetstream.RawStreamMsg
	var err error
	if f == history.Linearizable {
		msg, err = j.leaderLast(ctx, p, subject)
	} else {
		msg, err = j.streams[p].GetLastMsgForSubject(ctx, subject)
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return events.Record{}, false, nil
	}
	if err != nil {
		return events.Record{}, false, fmt.Errorf("read the last event of %s: %w", s, err)
	}
	rec, err := j.record(p, msg.Subject, msg.Sequence, msg.Data)
	return rec, err == nil, err
}

// leaderLast asks the stream's leader, which direct gets may bypass (ADR-31).
func (j *Journal) leaderLast(ctx context.Context, p int, subject string) (*jetstream.RawStreamMsg, error) {
	return j.leaderGet(ctx, p, natsio.LastBySubject(subject))
}

func (j *Journal) leaderGet(ctx context.Context, p int, req string) (*jetstream.RawStreamMsg, error) {
	return natsio.LeaderGet(ctx, j.nc, natsio.StreamName(p, len(j.streams)), req)
}

// At implements commands.Journal.
func (j *Journal) At(ctx context.Context, partition int, revision uint64) (events.Record, error) {
	msg, err := j.streams[partition].GetMsg(ctx, revision)
	if err != nil {
		return events.Record{}, fmt.Errorf("read revision %d of partition %d: %w", revision, partition, err)
	}
	return j.record(partition, msg.Subject, msg.Sequence, msg.Data)
}

// Since implements commands.Journal, page by page with direct gets: a consumer
// per search is the known slow way.
func (j *Journal) Since(ctx context.Context, s events.Stream, from time.Time, yield func(events.Record) bool) error {
	return j.scan(ctx, s, records(yield), jetstreamext.GetBatchStartTime(from))
}

// Scan yields the events of s from a revision on, oldest first. It fails at one
// that cannot be read.
func (j *Journal) Scan(ctx context.Context, s events.Stream, from uint64, yield func(events.Record) bool) error {
	return j.scan(ctx, s, records(yield), jetstreamext.GetBatchSeq(max(from, 1)))
}

// EachOf implements projections.Streams.
func (j *Journal) EachOf(ctx context.Context, s events.Stream, from uint64, yield func(history.Message) error) error {
	if !s.Valid() {
		return nil
	}
	return j.scan(ctx, s, yield, jetstreamext.GetBatchSeq(max(from, 1)))
}

func records(yield func(events.Record) bool) func(history.Message) error {
	return func(m history.Message) error {
		if m.Bad == nil && !yield(m.Record) {
			return errEnough
		}
		return m.Bad
	}
}

func (j *Journal) scan(ctx context.Context, s events.Stream, yield func(history.Message) error, start jetstreamext.GetBatchOpt) error {
	p := j.Partition(s.ID())
	stream, subject := natsio.StreamName(p, len(j.streams)), jetstreamext.GetBatchSubject(j.root+string(s))
	for size := firstPage; ; size = sincePage {
		batch, err := jetstreamext.GetBatch(ctx, j.js, stream, size, subject, start)
		if err != nil {
			return fmt.Errorf("search %s: %w", s, err)
		}
		pending, last := "0", uint64(0)
		for msg, err := range batch {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("search %s: %w", s, err)
			}
			err = yield(j.message(p, msg.Subject, msg.Sequence, msg.Time, msg.Data))
			if errors.Is(err, errEnough) {
				return nil
			}
			if err != nil {
				return err
			}
			// The server cuts a batch short by bytes without a word, so it is
			// asked how much is left.
			pending, last = msg.Header.Get("Nats-Num-Pending"), msg.Sequence
		}
		if pending == "0" || pending == "" {
			return nil
		}
		start = jetstreamext.GetBatchSeq(last + 1)
	}
}

// record decodes a stored message.
func (j *Journal) record(partition int, subject string, seq uint64, data []byte) (events.Record, error) {
	return events.DecodeAt(data, events.Stream(strings.TrimPrefix(subject, j.root)), partition, seq)
}
