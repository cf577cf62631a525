package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

var _ history.Streams = (*Journal)(nil)

// endsAtOnce is how many single reads wait for the leader at a time.
const endsAtOnce = 32

// Ends implements projections.Streams. With one copy of the journal a direct
// get is the leader's, a thousand streams a request; of several copies one may
// be behind, so there each stream is asked for on its own. So is what the others
// did not bring, for nothing is to be taken for absent by mistake.
func (j *Journal) Ends(ctx context.Context, streams []events.Stream) ([]history.Message, error) {
	ends := make([]history.Message, len(streams))
	places, first := map[string]int{}, map[events.Stream]int{}
	byPartition := make([][]string, len(j.streams))
	for i, s := range streams {
		if _, twice := first[s]; twice || !s.Valid() {
			continue
		}
		p := j.Partition(s.ID())
		first[s], places[j.root+string(s)] = i, i
		byPartition[p] = append(byPartition[p], j.root+string(s))
	}
	for p, subjects := range byPartition {
		if j.replicas > 1 {
			continue
		}
		err := natsio.LastMessages(ctx, j.nc, natsio.StreamName(p, len(j.streams)), natsio.LastQuery{Subjects: subjects}, func(msg *jetstream.RawStreamMsg) {
			if i, asked := places[msg.Subject]; asked {
				ends[i] = j.message(p, msg.Subject, msg.Sequence, msg.Time, msg.Data)
				delete(places, msg.Subject)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("read the ends of %d streams: %w", len(subjects), err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(endsAtOnce)
	for subject, i := range places { // those that are left
		g.Go(func() error {
			p := j.Partition(streams[i].ID())
			msg, err := j.leaderLast(ctx, p, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read the last event of %s: %w", streams[i], err)
			}
			ends[i] = j.message(p, msg.Subject, msg.Sequence, msg.Time, msg.Data)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, s := range streams {
		if of, asked := first[s]; asked {
			ends[i] = ends[of]
		}
	}
	return ends, nil
}

// Each implements projections.Streams. Unlike Read it passes over gaps: what is
// missing is the reader's to judge.
func (j *Journal) Each(ctx context.Context, partition int, after, upTo uint64, yield func(history.Message) error) error {
	if upTo <= after {
		return nil
	}
	if upTo == after+1 && j.replicas == 1 { // one event is not worth a consumer; a copy might be behind
		msg, err := j.streams[partition].GetMsg(ctx, upTo)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read revision %d of partition %d: %w", upTo, partition, err)
		}
		return yield(j.message(partition, msg.Subject, msg.Sequence, msg.Time, msg.Data))
	}
	return j.Raw(ctx, partition, RawRange{FromRevision: after + 1, ToRevision: upTo}, func(msg jetstream.Msg, revision uint64) error {
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		return yield(j.message(partition, msg.Subject(), revision, meta.Timestamp, msg.Data()))
	})
}

// message decodes a stored message; Bad is set where it is no event.
func (j *Journal) message(p int, subject string, seq uint64, at time.Time, data []byte) (m history.Message) {
	m.Body = data
	if m.Record, m.Bad = j.record(p, subject, seq, data); m.Bad != nil {
		m.Stream = events.Stream(strings.TrimPrefix(subject, j.root))
		m.Partition, m.Revision, m.RecordedAt = p, seq, at.UTC()
	}
	return m
}
