package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Any replica of a stream answers a direct get, and any replica may hold a
// consumer (ADR-31); a replica that lags answers with the past. No read of the
// journal except Fast may do that. One rule makes them fresh: the leader says what
// the answer must contain, and an answer without it is completed from the leader or
// requested again. A single replica is its own leader and needs no check.

// leaderGet sends a get request to the leader of a partition.
func (j *Journal) leaderGet(ctx context.Context, p int, request string) (*jetstream.RawStreamMsg, error) {
	return natsio.LeaderGet(ctx, j.nc, natsio.StreamName(p, len(j.streams)), request)
}

// readEnd says when a read with a consumer is complete: at the last message that the
// leader had when the read began.
type readEnd struct {
	last       uint64 // 0 = there is nothing to read
	replicated bool   // the consumer's own count of pending messages may be too low
}

// endOf returns the end of a read of the messages that match subject, which is not
// later than upTo.
func (j *Journal) endOf(ctx context.Context, p int, subject string, upTo uint64) (readEnd, error) {
	if j.Replicas() == 1 {
		return readEnd{last: upTo}, nil
	}
	last, err := j.leaderGet(ctx, p, natsio.LastBySubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return readEnd{}, nil
	}
	if err != nil {
		return readEnd{}, fmt.Errorf("read the end of partition %d: %w", p, err)
	}
	return readEnd{last: min(last.Sequence, upTo), replicated: true}, nil
}

// empty reports whether a consumer with that many pending messages has nothing to
// read.
func (e readEnd) empty(pending uint64) bool { return e.last == 0 || pending == 0 && !e.replicated }

// reached reports whether a message is the last one of the read.
func (e readEnd) reached(meta *jetstream.MsgMetadata) bool {
	return meta.Sequence.Stream >= e.last || meta.NumPending == 0 && !e.replicated
}

// next returns the next message. It waits for a replica that lags, not for ever.
func (e readEnd) next(ctx context.Context, it jetstream.MessagesContext) (jetstream.Msg, error) {
	if !e.replicated {
		return it.Next(jetstream.NextContext(ctx))
	}
	waiting, cancel := context.WithTimeout(ctx, natsio.ReplicaLag)
	defer cancel()
	msg, err := it.Next(jetstream.NextContext(waiting))
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		err = natsio.ErrReplicaLags
	}
	return msg, err
}

// boundedEnds is Ends within a bound, for a replicated journal. It asks for the
// event at the bound too: a replica whose answer has that event has all events up
// to it.
func (j *Journal) boundedEnds(ctx context.Context, names []events.AggregateName, b history.Bound) ([]history.Message, error) {
	ends := make([]history.Message, len(names))
	places := make([]map[string][]int, len(j.streams)) // of a subject in names
	for i, name := range names {
		if !name.Valid() {
			continue
		}
		p := j.Partition(name.ID())
		if places[p] == nil {
			places[p] = map[string][]int{}
		}
		subject := j.root + string(name)
		places[p][subject] = append(places[p][subject], i)
	}
	for p, asked := range places {
		if len(asked) == 0 {
			continue
		}
		upTo, witness, err := j.witness(ctx, p, b)
		if err != nil {
			return nil, fmt.Errorf("read the last events of %d aggregates: %w", len(asked), err)
		}
		if upTo == 0 {
			continue // nothing was stored then
		}
		q := natsio.LastQuery{Subjects: slices.Collect(maps.Keys(asked)), UpToSeq: upTo, Witness: witness}
		var failed error
		err = natsio.LastMessages(ctx, j.nc, natsio.StreamName(p, len(j.streams)), q, func(msg *jetstream.RawStreamMsg) {
			m, err := j.message(ctx, p, msg.Subject, msg.Sequence, msg.Time, msg.Data)
			failed = cmp.Or(failed, err)
			for _, i := range asked[msg.Subject] {
				ends[i] = m
			}
		})
		if err = cmp.Or(err, failed); err != nil {
			return nil, fmt.Errorf("read the last events of %d aggregates: %w", len(asked), err)
		}
	}
	return ends, nil
}

// witness turns a bound into a revision that exists, and returns the subject of the
// event there; "" = that event was trimmed, which every replica that answers has
// long applied.
func (j *Journal) witness(ctx context.Context, p int, b history.Bound) (upTo uint64, subject string, err error) {
	head, err := j.leaderGet(ctx, p, natsio.LastBySubject(j.root+">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	upTo = head.Sequence
	switch {
	case b.Revision > 0:
		upTo = min(upTo, b.Revision)
	case !b.Before.After(head.Time):
		first, err := j.leaderGet(ctx, p, `{"start_time":"`+b.Before.UTC().Format(time.RFC3339Nano)+`","next_by_subj":"`+j.root+`>"}`)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, "", err
		}
		if err == nil {
			upTo = first.Sequence - 1
		}
	}
	if upTo == head.Sequence {
		return upTo, head.Subject, nil
	}
	if upTo == 0 {
		return 0, "", nil
	}
	at, err := j.leaderGet(ctx, p, `{"seq":`+strconv.FormatUint(upTo, 10)+`}`)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return upTo, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	return upTo, at.Subject, nil
}
