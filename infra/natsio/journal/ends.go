package journal

import (
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

// endsAtOnce is how many single reads wait for the leader at a time.
const endsAtOnce = 32

// Ends implements history.JournalStore. Any copy answers a fast or bounded read, a
// thousand names a request. A linearizable answer is the leader's: with one copy
// of the journal that is every answer; with several each name is asked for on its
// own, and so is a name that the others did not bring, so that none is taken for
// absent by mistake.
func (j *Journal) Ends(ctx context.Context, names []events.Stream, b history.Bound, f history.Freshness) ([]history.Message, error) {
	bounded := b != history.Bound{}
	if len(names) == 1 && !bounded {
		m, err := j.end(ctx, names[0], f)
		return []history.Message{m}, err
	}
	ends := make([]history.Message, len(names))
	places, first := make(map[string]int, len(names)), make(map[events.Stream]int, len(names))
	byPartition := make([][]string, len(j.streams))
	for i, name := range names {
		if _, twice := first[name]; twice || !name.Valid() {
			continue
		}
		p := j.Partition(name.ID())
		first[name], places[j.root+string(name)] = i, i
		byPartition[p] = append(byPartition[p], j.root+string(name))
	}
	for p, subjects := range byPartition {
		if len(subjects) == 0 || j.replicas > 1 && f == history.Linearizable && !bounded {
			continue
		}
		q := natsio.LastQuery{Subjects: subjects, UpToSeq: b.Revision}
		if !b.Before.IsZero() {
			q.UpToTime = &b.Before
		}
		err := natsio.LastMessages(ctx, j.nc, natsio.StreamName(p, len(j.streams)), q, func(msg *jetstream.RawStreamMsg) {
			if i, asked := places[msg.Subject]; asked {
				ends[i] = j.message(p, msg.Subject, msg.Sequence, msg.Time, msg.Data)
				delete(places, msg.Subject)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("read the last events of %d aggregates: %w", len(subjects), err)
		}
	}
	if f == history.Linearizable && !bounded {
		if err := j.askLeader(ctx, names, places, ends); err != nil {
			return nil, err
		}
	}
	for i, name := range names {
		if of, asked := first[name]; asked {
			ends[i] = ends[of]
		}
	}
	return ends, nil
}

// askLeader asks the leader for the names at places, one by one.
func (j *Journal) askLeader(ctx context.Context, names []events.Stream, places map[string]int, ends []history.Message) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(endsAtOnce)
	for _, i := range places {
		g.Go(func() (err error) {
			ends[i], err = j.end(ctx, names[i], history.Linearizable)
			return err
		})
	}
	return g.Wait()
}

// end returns the last entry of one aggregate; an empty Message stands for none.
func (j *Journal) end(ctx context.Context, name events.Stream, f history.Freshness) (m history.Message, err error) {
	if !name.Valid() {
		return m, nil
	}
	p, subject := j.Partition(name.ID()), j.root+string(name)
	var msg *jetstream.RawStreamMsg
	if f == history.Linearizable {
		msg, err = j.askLeaderFor(ctx, p, natsio.LastBySubject(subject))
	} else {
		msg, err = j.streams[p].GetLastMsgForSubject(ctx, subject)
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read the last event of %s: %w", name, err)
	}
	return j.message(p, msg.Subject, msg.Sequence, msg.Time, msg.Data), nil
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
	err := natsio.MessagesAt(ctx, j.nc, natsio.StreamName(partition, len(j.streams)), slices.Collect(maps.Keys(places)), func(msg *jetstream.RawStreamMsg) {
		if i, asked := places[msg.Sequence]; asked {
			found[i] = j.message(partition, msg.Subject, msg.Sequence, msg.Time, msg.Data)
		}
	})
	return found, err
}

// First implements history.JournalStore.
func (j *Journal) First(ctx context.Context, name events.Stream) (m history.Message, err error) {
	p := j.Partition(name.ID())
	msg, err := j.askLeaderFor(ctx, p, `{"seq":1,"next_by_subj":"`+j.root+string(name)+`"}`)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read the first event of %s: %w", name, err)
	}
	return j.message(p, msg.Subject, msg.Sequence, msg.Time, msg.Data), nil
}

// askLeaderFor sends a get request to the leader of a partition, which direct gets
// may bypass (NATS ADR-31).
func (j *Journal) askLeaderFor(ctx context.Context, p int, request string) (*jetstream.RawStreamMsg, error) {
	return natsio.LeaderGet(ctx, j.nc, natsio.StreamName(p, len(j.streams)), request)
}

// Names implements history.JournalStore, from the subject index of the stream.
func (j *Journal) Names(ctx context.Context, pattern events.Stream) ([]events.Stream, error) {
	info, err := j.streams[j.Partition(pattern.ID())].Info(ctx, jetstream.WithSubjectFilter(j.root+string(pattern)))
	if err != nil {
		return nil, fmt.Errorf("list the aggregates %s: %w", pattern, err)
	}
	names := make([]events.Stream, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		names = append(names, events.Stream(subject[len(j.root):]))
	}
	return names, nil
}
