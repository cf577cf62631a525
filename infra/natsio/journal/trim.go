package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections/retention"
)

var _ retention.TrimJournal = (*Journal)(nil)

// lastsPage is how many subjects one request for last messages names; the
// server takes 1,024.
const lastsPage = 1000

// Lasts implements projections.TrimJournal.
func (j *Journal) Lasts(ctx context.Context, partition int, streams []events.Stream) (map[events.Stream]uint64, error) {
	all := make(map[events.Stream]uint64, len(streams))
	for len(streams) > 0 {
		n := min(len(streams), lastsPage)
		subjects := make([]string, n)
		for i, s := range streams[:n] {
			subjects[i] = j.root + string(s)
		}
		msgs, err := jetstreamext.GetLastMsgsFor(ctx, j.js, natsio.StreamName(partition, len(j.streams)), subjects)
		if err != nil {
			return nil, fmt.Errorf("look for the ends of streams: %w", err)
		}
		for msg, err := range msgs {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("look for the ends of streams: %w", err)
			}
			all[events.Stream(msg.Subject[len(j.root):])] = msg.Sequence
		}
		streams = streams[n:]
	}
	return all, nil
}

// MarkTrimmed implements projections.TrimJournal. Two at once would be one too
// many: the server compares nothing.
func (j *Journal) MarkTrimmed(ctx context.Context, partition int, cut uint64) error {
	before, err := j.Trimmed(ctx, partition)
	if err != nil || cut <= before {
		return err
	}
	return j.change(ctx, partition, func(cfg *jetstream.StreamConfig) bool {
		cfg.Metadata[metaTrimmed] = strconv.FormatUint(cut, 10)
		cfg.Metadata[metaTrimmedAt] = time.Now().UTC().Format(time.RFC3339Nano)
		return true
	})
}

// purgeTime bounds one purge.
const purgeTime = time.Minute

// Purge implements projections.TrimJournal.
func (j *Journal) Purge(ctx context.Context, partition int, s events.Stream, before uint64) error {
	if before < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTime)
	defer cancel()
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSequence(before)}
	if s != "" {
		opts = append(opts, jetstream.WithPurgeSubject(j.root+string(s)))
	}
	if err := j.streams[partition].Purge(ctx, opts...); err != nil {
		return fmt.Errorf("purge %s before revision %d of partition %d: %w", s, before, partition, err)
	}
	return nil
}

// Acknowledged is up to where all durable consumers of a partition have
// acknowledged what they were given, reactors among them, and which is the
// last of them; without one it is the head.
func (j *Journal) Acknowledged(ctx context.Context, partition int) (uint64, string, error) {
	least, err := j.Head(ctx, partition)
	if err != nil {
		return 0, "", err
	}
	last := ""
	list := j.streams[partition].ListConsumers(ctx)
	for c := range list.Info() {
		if c.Config.Durable == "" || c.Config.AckPolicy == jetstream.AckNonePolicy {
			continue
		}
		at := c.AckFloor.Stream
		switch {
		case c.NumAckPending == 0 && c.NumPending == 0:
			continue // it has had everything up to the head that was read before
		case c.NumAckPending == 0:
			at = c.Delivered.Stream
		}
		if at < least {
			least, last = at, "consumer "+c.Name
		}
	}
	if err := list.Err(); err != nil {
		return 0, "", fmt.Errorf("look at the consumers of partition %d: %w", partition, err)
	}
	return least, last, nil
}
