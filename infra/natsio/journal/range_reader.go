package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// RawRange bounds a read of one partition. Bounds are inclusive; a zero field does
// not bound. The read ends at the latest at the head at its start.
type RawRange struct {
	FromRevision, ToRevision uint64
	FromTime, ToTime         time.Time
	Subject                  string // a subject pattern; empty = all subjects, which is much faster
}

// shortRead is a number of messages that are requested at once, without reading ahead.
const shortRead = 1000

// Raw yields the stored messages of a partition in order, without decoding them.
func (j *Journal) Raw(ctx context.Context, partition int, r RawRange, yield func(msg jetstream.Msg, revision uint64) error) error {
	head, err := j.Head(ctx, partition)
	if err != nil {
		return err
	}
	last := head
	if r.ToRevision > 0 {
		last = min(r.ToRevision, head)
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	switch {
	case r.FromRevision > last || last == 0:
		return nil
	case r.FromRevision > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.FromRevision
	case !r.FromTime.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.FromTime
	}
	if r.Subject != "" {
		cfg.FilterSubjects = []string{r.Subject}
	}
	pattern := r.Subject
	if pattern == "" {
		pattern = j.root + ">"
	}
	until, err := j.endOf(ctx, partition, pattern, last)
	if err != nil || until.last < r.FromRevision {
		return err
	}
	c, end, err := natsio.EphemeralConsumer(ctx, j.js, natsio.StreamName(partition, len(j.streams)), cfg)
	if err != nil {
		return fmt.Errorf("read partition %d: %w", partition, err)
	}
	defer end()
	if until.empty(c.CachedInfo().NumPending) { // as the server created it
		if info, err := c.Info(ctx); err != nil || until.empty(info.NumPending) {
			return err
		}
	}
	opts := natsio.IteratorOptions(j.nc)
	if n := int(last - r.FromRevision + 1); r.Subject == "" && r.FromRevision > 0 && n <= shortRead {
		opts = []jetstream.PullMessagesOpt{
			jetstream.PullMaxMessagesWithBytesLimit(n, int(natsio.ReadAhead(j.nc))), jetstream.StopAfter(n), jetstream.PullHeartbeat(natsio.ReadHeartbeat),
		}
	}
	it, err := c.Messages(opts...)
	if err != nil {
		return fmt.Errorf("read partition %d: %w", partition, err)
	}
	defer it.Stop()
	for {
		msg, err := until.next(ctx, it)
		if err != nil {
			return fmt.Errorf("read partition %d: %w", partition, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream > last || !r.ToTime.IsZero() && meta.Timestamp.After(r.ToTime) {
			return nil
		}
		if err := yield(msg, meta.Sequence.Stream); err != nil {
			return err
		}
		if until.reached(meta) {
			return nil
		}
	}
}
