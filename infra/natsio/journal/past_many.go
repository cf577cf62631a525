package journal

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Of what has to be asked one by one, manyAtOnce are; where they are more than
// manyAlone, the archive is asked for all of them first.
const (
	manyAtOnce = 16
	manyAlone  = 64
)

// manyScan is how many events are read for each stream that is open, rather than
// to ask for it alone.
const manyScan = 100

// lasts are the last events of some streams as of a moment, in their order;
// streams that were not there yet are left out. All are of one agent, as the
// pattern is that they are of.
func (p Past) lasts(ctx context.Context, pattern events.Stream, streams []events.Stream, m moment) ([]events.Record, error) {
	found := make([]events.Record, len(streams))
	open := make([]int, 0, len(streams))
	// In a cluster a replica that lags may answer such a request, and nobody
	// could tell what it lacks from what was not there.
	together := p.replicas == 1
	for i := range streams {
		open = append(open, i)
	}
	if together && len(open) > 0 {
		head, err := p.Head(ctx, p.Partition(pattern.ID()))
		if err != nil {
			return nil, err
		}
		got, err := p.together(ctx, streams, open, natsio.LastQuery{UpToSeq: min(m.revision, head)})
		if err != nil {
			return nil, err
		}
		open = p.settle(streams, open, found, func(s events.Stream) (events.Record, bool) {
			rec, ok := got[s]
			return rec, ok && m.includes(&rec)
		})
		if m.revision == 0 && len(open) > 1 {
			if open, err = p.scanned(ctx, pattern, streams, m, open, found); err != nil {
				return nil, err
			}
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

// settle takes in what is known of open streams, and returns those that are
// still open.
func (p Past) settle(streams []events.Stream, open []int, found []events.Record, known func(events.Stream) (events.Record, bool)) []int {
	left := make([]int, 0, len(open))
	for _, i := range open {
		if rec, ok := known(streams[i]); ok {
			found[i] = rec
		} else {
			left = append(left, i)
		}
	}
	return left
}

// scanned looks for the last events as of a time by reading on from there, all
// streams together. What was stored until then is a candidate; a stream is
// settled once an event shows that all later ones were recorded later. Those
// stay open that were trimmed, or that too much lies between.
func (p Past) scanned(ctx context.Context, pattern events.Stream, streams []events.Stream, m moment, open []int, found []events.Record) ([]int, error) {
	after := m.at.Add(time.Nanosecond)
	best, err := p.together(ctx, streams, open, natsio.LastQuery{UpToTime: &after})
	if err != nil {
		return nil, err
	}
	waiting := make(map[events.Stream]uint64, len(open)) // the version seen last
	for _, i := range open {
		if rec, ok := best[streams[i]]; !ok || m.includes(&rec) {
			waiting[streams[i]] = rec.Version
		}
	}
	if len(waiting) == 0 {
		return open, nil
	}
	settled := make(map[events.Stream]bool, len(waiting))
	budget := manyScan * len(waiting)
	enough := m.at.Add(p.skew())
	err = p.Since(ctx, pattern, after, func(rec events.Record) bool {
		budget--
		seen, ok := waiting[rec.Stream]
		if !ok {
			return budget > 0
		}
		switch waiting[rec.Stream] = rec.Version; {
		case rec.Version != seen+1: // trimmed, perhaps meanwhile
			delete(waiting, rec.Stream)
		case rec.RecordedAt.After(enough):
			delete(waiting, rec.Stream)
			settled[rec.Stream] = true
		case m.includes(&rec):
			best[rec.Stream] = rec
		}
		return budget > 0 && len(waiting) > 0
	})
	if err != nil {
		return nil, err
	}
	return p.settle(streams, open, found, func(s events.Stream) (events.Record, bool) {
		version, unsettled := waiting[s]
		if unsettled && budget > 0 && version > 0 {
			settled[s] = true // the journal's end was reached
		}
		return best[s], settled[s]
	}), nil
}

// together reads the last events of some streams within the bound of upTo.
func (p Past) together(ctx context.Context, streams []events.Stream, some []int, upTo natsio.LastQuery) (map[events.Stream]events.Record, error) {
	part := p.Partition(streams[some[0]].ID())
	upTo.Subjects = make([]string, len(some))
	for i, n := range some {
		upTo.Subjects[i] = p.root + string(streams[n])
	}
	got := make(map[events.Stream]events.Record, len(some))
	var bad error
	err := natsio.LastMessages(ctx, p.nc, natsio.StreamName(part, p.Partitions()), upTo, func(msg *jetstream.RawStreamMsg) {
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
		return nil, fmt.Errorf("read the past of %d streams: %w", len(some), err)
	}
	return got, nil
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
