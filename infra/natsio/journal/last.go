package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// leaderGetConcurrency is the number of get requests to the leader in flight.
const leaderGetConcurrency = 32

// Ends implements history.JournalStore. Any replica answers a fast read, with up to
// 1,000 names a request. A linearizable read needs the leader. With one replica
// every reply is the leader's, and Ends requests only the names without a reply
// again, one by one, so that it does not report an existing aggregate as missing.
// With several replicas it sends the leader one request per name. A bounded read is
// answered by a replica that is proved to have the bound; see boundedEnds.
func (j *Journal) Ends(ctx context.Context, names []events.AggregateName, b history.Bound, f history.Freshness) ([]history.Message, error) {
	bounded := b != history.Bound{}
	if bounded && j.Replicas() > 1 {
		return j.boundedEnds(ctx, names, b)
	}
	if len(names) == 1 && !bounded {
		m, err := j.last(ctx, names[0], f)
		return []history.Message{m}, err
	}
	ends := make([]history.Message, len(names))
	missing, first := make(map[string]int, len(names)), make(map[events.AggregateName]int, len(names))
	byPartition := make([][]string, len(j.streams))
	for i, name := range names {
		if _, repeated := first[name]; repeated || !name.Valid() {
			continue
		}
		p := j.Partition(name.ID())
		first[name], missing[j.root+string(name)] = i, i
		byPartition[p] = append(byPartition[p], j.root+string(name))
	}
	for p, subjects := range byPartition {
		if len(subjects) == 0 || j.Replicas() > 1 && f == history.Linearizable {
			continue
		}
		q := natsio.LastQuery{Subjects: subjects, UpToSeq: b.Revision}
		if !b.Before.IsZero() {
			q.UpToTime = &b.Before
		}
		var failed error
		err := natsio.LastMessages(ctx, j.nc, natsio.StreamName(p, len(j.streams)), q, func(msg *jetstream.RawStreamMsg) {
			if i, ok := missing[msg.Subject]; ok && failed == nil {
				ends[i], failed = j.message(ctx, p, msg.Subject, msg.Sequence, msg.Time, msg.Data)
				delete(missing, msg.Subject)
			}
		})
		err = cmp.Or(err, failed)
		if err != nil {
			return nil, fmt.Errorf("read the last events of %d aggregates: %w", len(subjects), err)
		}
	}
	if f == history.Linearizable && !bounded {
		if err := j.lastFromLeader(ctx, names, missing, ends); err != nil {
			return nil, err
		}
	}
	for i, name := range names {
		if of, ok := first[name]; ok {
			ends[i] = ends[of]
		}
	}
	return ends, nil
}

// lastFromLeader reads the names at the indexes in missing from the leader, one
// request each, into ends.
func (j *Journal) lastFromLeader(ctx context.Context, names []events.AggregateName, missing map[string]int, ends []history.Message) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(leaderGetConcurrency)
	for _, i := range missing {
		g.Go(func() (err error) {
			ends[i], err = j.last(ctx, names[i], history.Linearizable)
			return err
		})
	}
	return g.Wait()
}

// last returns the last event of one aggregate; an empty Message if it has none.
func (j *Journal) last(ctx context.Context, name events.AggregateName, f history.Freshness) (m history.Message, err error) {
	if !name.Valid() {
		return m, nil
	}
	p, subject := j.Partition(name.ID()), j.root+string(name)
	var msg *jetstream.RawStreamMsg
	if f == history.Linearizable {
		msg, err = natsio.LastMessage(ctx, j.nc, j.streams[p], subject)
	} else {
		msg, err = j.streams[p].GetLastMsgForSubject(ctx, subject)
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read the last event of %s: %w", name, err)
	}
	return j.message(ctx, p, msg.Subject, msg.Sequence, msg.Time, msg.Data)
}

// EventsAt implements history.JournalStore.
func (j *Journal) EventsAt(ctx context.Context, partition int, revisions []uint64) ([]history.Message, error) {
	found := make([]history.Message, len(revisions))
	places := make(map[uint64]int, len(revisions))
	for i, revision := range revisions {
		if revision > 0 {
			places[revision] = i
		}
	}
	var failed error
	err := natsio.MessagesAt(ctx, j.nc, natsio.StreamName(partition, len(j.streams)), slices.Collect(maps.Keys(places)), func(msg *jetstream.RawStreamMsg) {
		if i, asked := places[msg.Sequence]; asked && failed == nil {
			found[i], failed = j.message(ctx, partition, msg.Subject, msg.Sequence, msg.Time, msg.Data)
			delete(places, msg.Sequence)
		}
	})
	err = cmp.Or(err, failed)
	if err != nil || j.Replicas() == 1 {
		return found, err
	}
	for revision, i := range places { // a replica that lags may lack them
		err := j.single(ctx, partition, revision, func(m history.Message) error { found[i] = m; return nil })
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// First implements history.JournalStore.
func (j *Journal) First(ctx context.Context, name events.AggregateName) (m history.Message, err error) {
	p := j.Partition(name.ID())
	msg, err := j.leaderGet(ctx, p, `{"seq":1,"next_by_subj":"`+j.root+string(name)+`"}`)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read the first event of %s: %w", name, err)
	}
	return j.message(ctx, p, msg.Subject, msg.Sequence, msg.Time, msg.Data)
}

// Names implements history.JournalStore with the subject index of the stream.
func (j *Journal) Names(ctx context.Context, pattern events.AggregateName) ([]events.AggregateName, error) {
	info, err := j.streams[j.Partition(pattern.ID())].Info(ctx, jetstream.WithSubjectFilter(j.root+string(pattern)))
	if err != nil {
		return nil, fmt.Errorf("list the aggregates %s: %w", pattern, err)
	}
	names := make([]events.AggregateName, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		names = append(names, events.AggregateName(subject[len(j.root):]))
	}
	return names, nil
}
