package journal

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// before fills in what was there up to a revision, where it is not known. Of
// what cannot be read nothing is said to have been there.
func (p Past) Before(ctx context.Context, revision uint64, notices []projections.Notice) error {
	var open []int
	for i := range notices {
		if !notices[i].Known {
			open = append(open, i)
		}
	}
	if revision == 0 || len(open) == 0 {
		return nil
	}
	stream := func(i int) events.Stream { return events.StateEntry(notices[i].Agent, notices[i].Key) }
	if p.replicas == 1 { // else a replica that lags may answer
		last := make(map[events.Stream]*jetstream.RawStreamMsg, len(open))
		subjects := make([]string, len(open))
		for at, i := range open {
			subjects[at] = p.root + string(stream(i))
		}
		part := p.Partition(notices[open[0]].Agent)
		err := natsio.LastMessages(ctx, p.nc, natsio.StreamName(part, p.Partitions()), natsio.LastQuery{Subjects: subjects, UpToSeq: revision}, func(msg *jetstream.RawStreamMsg) {
			last[events.Stream(strings.TrimPrefix(msg.Subject, p.root))] = msg
		})
		if err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(i int) bool {
			msg, ok := last[stream(i)]
			if ok {
				if rec, err := p.record(part, msg.Subject, msg.Sequence, msg.Data); err == nil {
					was(&notices[i], &rec)
				}
			}
			return ok
		})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(manyAtOnce)
	for _, i := range open { // trimmed, perhaps
		g.Go(func() error {
			rec, ok, err := p.asOf(ctx, stream(i), moment{revision: revision})
			if err == nil && ok {
				was(&notices[i], &rec)
			}
			return err
		})
	}
	return g.Wait()
}

// was puts what an event left as what was there before.
func was(c *projections.Notice, rec *events.Record) {
	if old, err := readmodel.EntryOf(rec); err == nil && !old.Deleted {
		c.Old = old.Value
	}
}
