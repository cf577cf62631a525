package journal

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// Ends implements readmodel.KeeperPast: the keys from the stream's index, their
// last events a thousand a request.
func (p Past) Ends(ctx context.Context, agent string, after uint64) ([]tiers.DirtyEntry, error) {
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
	var ends []tiers.DirtyEntry
	var bad error
	err = natsio.LastMessages(ctx, p.nc, natsio.StreamName(part, p.Partitions()), natsio.LastQuery{Subjects: subjects, UpToSeq: info.State.LastSeq}, func(msg *jetstream.RawStreamMsg) {
		if msg.Sequence <= after || bad != nil {
			return
		}
		rec, err := p.record(part, msg.Subject, msg.Sequence, msg.Data)
		if err != nil {
			bad = err
			return
		}
		change, err := readmodel.EntryOf(&rec)
		if err != nil {
			bad = err
			return
		}
		ends = append(ends, tiers.DirtyEntry(change))
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, fmt.Errorf("read the entries of %s: %w", agent, err)
	}
	return ends, nil
}
