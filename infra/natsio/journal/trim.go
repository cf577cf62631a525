package journal

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections/retention"
)

var _ retention.TrimJournal = (*Journal)(nil)

// MarkTrimmed implements retention.TrimJournal. Callers must not run it
// concurrently: the server does not compare the configuration that it replaces.
func (j *Journal) MarkTrimmed(ctx context.Context, partition int, cut uint64) error {
	before, _, err := j.Trimmed(ctx, partition)
	if err != nil || cut <= before {
		return err
	}
	return j.updateConfig(ctx, partition, func(cfg *jetstream.StreamConfig) bool {
		cfg.Metadata[metaTrimmed] = strconv.FormatUint(cut, 10)
		cfg.Metadata[metaTrimmedAt] = time.Now().UTC().Format(time.RFC3339Nano)
		return true
	})
}

// purgeTimeout bounds one purge.
const purgeTimeout = time.Minute

// Purge implements retention.TrimJournal.
func (j *Journal) Purge(ctx context.Context, partition int, s events.AggregateName, before uint64) error {
	if before < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSequence(before)}
	if s != "" {
		opts = append(opts, jetstream.WithPurgeSubject(j.root+string(s)))
	}
	// gofail: var trimPurge struct{}
	// return context.DeadlineExceeded
	if err := j.streams[partition].Purge(ctx, opts...); err != nil {
		return fmt.Errorf("purge %s before revision %d of partition %d: %w", s, before, partition, err)
	}
	return nil
}

// Acknowledged returns the revision up to which all durable consumers of a
// partition, such as reactors, have acknowledged, and the consumer that lags most.
// It returns the head and "" if no consumer lags.
func (j *Journal) Acknowledged(ctx context.Context, partition int) (uint64, string, error) {
	least, err := j.Head(ctx, partition)
	if err != nil {
		return 0, "", err
	}
	slowest := ""
	list := j.streams[partition].ListConsumers(ctx)
	for c := range list.Info() {
		if c.Config.Durable == "" || c.Config.AckPolicy == jetstream.AckNonePolicy {
			continue
		}
		at := c.AckFloor.Stream
		switch {
		case c.NumAckPending == 0 && c.NumPending == 0:
			continue // caught up with the head that was read before
		case c.NumAckPending == 0:
			at = c.Delivered.Stream
		}
		if at < least {
			least, slowest = at, "consumer "+c.Name
		}
	}
	if err := list.Err(); err != nil {
		return 0, "", fmt.Errorf("list the consumers of partition %d: %w", partition, err)
	}
	return least, slowest, nil
}
