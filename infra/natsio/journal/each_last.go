package journal

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// EachLast yields the last event of every stream that a pattern names, once,
// as they are now: how what lives in memory is found again after a start.
func (j *Journal) EachLast(ctx context.Context, pattern events.Stream, yield func(events.Record)) error {
	for p := range j.streams {
		if err := j.eachLast(ctx, p, pattern, yield); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) eachLast(ctx context.Context, p int, pattern events.Stream, yield func(events.Record)) error {
	c, end, err := natsio.EphemeralConsumer(ctx, j.js, natsio.StreamName(p, len(j.streams)), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubjects: []string{j.root + string(pattern)},
	})
	if err != nil {
		return fmt.Errorf("look through %s: %w", pattern, err)
	}
	defer end()
	info, err := c.Info(ctx)
	if err != nil || info.NumPending == 0 {
		return err
	}
	it, err := c.Messages(natsio.IteratorOptions(j.nc)...)
	if err != nil {
		return fmt.Errorf("look through %s: %w", pattern, err)
	}
	defer it.Stop()
	for consumer := ""; ; {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("look through %s: %w", pattern, err)
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
		default: // the reader was made again, and then brings every event from there on
			now, err := j.streams[p].GetLastMsgForSubject(ctx, msg.Subject())
			if err != nil {
				return fmt.Errorf("look through %s: %w", pattern, err)
			}
			last = now.Sequence == meta.Sequence.Stream
		}
		if rec, err := j.record(p, msg.Subject(), meta.Sequence.Stream, msg.Data()); err == nil && last {
			yield(rec)
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
}
