package natsio

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
)

// manyChunk is how many streams one request asks for (the server takes 1024),
// so that with the largest values an answer stays below what it sends at once.
// Of what has to be asked one by one, manyAtOnce are; where they are more than
// manyAlone, the archive is asked for all of them first.
const (
	manyChunk  = 256
	manyAtOnce = 16
	manyAlone  = 64
)

// lasts are the last events of some streams as of a moment, in their order;
// streams that were not there yet are left out. All are of one agent, as the
// pattern is that they are of.
func (p Past) lasts(ctx context.Context, pattern events.Stream, streams []events.Stream, m moment) ([]events.Record, error) {
	found := make([]events.Record, len(streams))
	open := make([]int, 0, len(streams))
	// In a cluster a replica that lags may answer such a request, and nobody
	// could tell what it lacks from what was not there.
	together := p.replicas == 1
	if together {
		head, err := p.Head(ctx, p.Partition(pattern.ID()))
		if err != nil {
			return nil, err
		}
		got := make(map[events.Stream]events.Record, len(streams))
		for i := 0; i < len(streams); i += manyChunk {
			if err := p.together(ctx, streams[i:min(i+manyChunk, len(streams))], min(m.revision, head), got); err != nil {
				return nil, err
			}
		}
		for i, s := range streams {
			if rec, ok := got[s]; ok && m.includes(&rec) {
				found[i] = rec
			} else {
				open = append(open, i)
			}
		}
	} else {
		for i := range streams {
			open = append(open, i)
		}
	}
	if err := p.alone(ctx, pattern, streams, m, open, found, together); err != nil {
		return nil, err
	}
	recs := found[:0]
	for i := range found {
		if found[i].Revision > 0 {
			recs = append(recs, found[i])
		}
	}
	return recs, nil
}

// together reads the last events of a chunk of streams up to a revision, 0 =
// now. The server cuts an answer short by bytes, saying how many are left.
func (p Past) together(ctx context.Context, streams []events.Stream, revision uint64, got map[events.Stream]events.Record) error {
	part := p.Partition(streams[0].ID())
	subjects := make([]string, len(streams))
	for i, s := range streams {
		subjects[i] = p.root + string(s)
	}
	var bad error
	err := lasts(ctx, p.nc, StreamName(part, p.Partitions()), multiLast{Subjects: subjects, UpToSeq: revision}, func(msg *jetstream.RawStreamMsg) {
		rec, err := p.record(part, msg.Subject, msg.Sequence, msg.Data)
		if err != nil {
			bad = err
			return
		}
		got[rec.Stream] = rec
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("read the past of %d streams: %w", len(subjects), err)
	}
	return nil
}

// alone looks for what is still open, each by itself. What a whole journal was
// asked for together and does not have up to a revision, was not there.
func (p Past) alone(ctx context.Context, pattern events.Stream, streams []events.Stream, m moment, open []int, found []events.Record, together bool) error {
	if len(open) == 0 {
		return nil
	}
	part := p.Partition(pattern.ID())
	cut, err := p.Trimmed(ctx, part) // asked afterwards: the mark comes before what it allows
	if err != nil || cut == 0 && together && m.revision > 0 {
		return err
	}
	if cut > 0 && p.Archive != nil && len(open) > manyAlone {
		prefix := strings.TrimSuffix(string(pattern), ">")
		reaches, err := p.Archive.Reaches(ctx, part, p.ID())
		if err != nil {
			return away(pattern, cut, err)
		}
		recs, err := p.Archive.LastsOf(ctx, part, prefix, m.revision, m.at)
		if err != nil {
			return away(pattern, cut, err)
		}
		known := preloaded{Archive: p.Archive, reaches: reaches, lasts: make(map[events.Stream]events.Record, len(recs))}
		for _, rec := range recs {
			known.lasts[rec.Stream] = rec
		}
		p.Archive = known
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(manyAtOnce)
	for _, i := range open {
		g.Go(func() error {
			rec, ok, err := p.asOf(ctx, streams[i], m)
			if err == nil && ok {
				found[i] = rec
			}
			return err
		})
	}
	return g.Wait()
}

// EntriesOf implements commands.Past.
func (p Past) EntriesOf(ctx context.Context, agent string, revision uint64, at time.Time) ([]events.Record, error) {
	keys, err := p.Keys(ctx, agent, "", "", int(^uint(0)>>1))
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	streams := make([]events.Stream, len(keys))
	for i, key := range keys {
		streams[i] = events.StateEntry(agent, key)
	}
	return p.lasts(ctx, events.AgentStates(agent), streams, moment{revision, at})
}
