package hot

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
)

// EraseAgent removes what the bucket has of an erased agent but the last message of
// each key, which must be a tombstone by now.
func (b *Bucket) EraseAgent(ctx context.Context, agent string) error {
	keys, err := b.pastOf(ctx, agent)
	if err != nil || len(keys) == 0 {
		return err
	}
	// A purge of one key reads all that was stored between its messages. One of all keys, up to
	// the first message that stays, leaves little to those.
	stays, err := b.firstLast(ctx, agent)
	if err != nil {
		return err
	}
	if stays > 0 {
		if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(b.prefix+agent+".>"), jetstream.WithPurgeSequence(stays)); err != nil {
			return fmt.Errorf("remove the past of %s from bucket %s: %w", agent, b.name, err)
		}
	}
	if keys, err = b.pastOf(ctx, agent); err != nil {
		return err
	}
	for _, key := range keys {
		if err := b.ErasePast(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// pastOf returns the keys of an agent that have more than their last message.
func (b *Bucket) pastOf(ctx context.Context, agent string) (keys []string, err error) {
	subjects, err := b.subjectsOf(ctx, agent)
	for subject, messages := range subjects {
		if messages > 1 {
			keys = append(keys, strings.TrimPrefix(subject, b.prefix))
		}
	}
	return keys, err
}

func (b *Bucket) subjectsOf(ctx context.Context, agent string) (map[string]uint64, error) {
	info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(b.prefix+agent+".>"))
	if err != nil {
		return nil, fmt.Errorf("list the keys of %s in bucket %s: %w", agent, b.name, err)
	}
	return info.State.Subjects, nil
}

// lastsPage is how many keys firstLast reads at a time.
const lastsPage = 1000

// firstLast returns the lowest sequence of the last messages of an agent's keys.
func (b *Bucket) firstLast(ctx context.Context, agent string) (first uint64, err error) {
	subjects, err := b.subjectsOf(ctx, agent)
	if err != nil {
		return 0, err
	}
	for some := range slices.Chunk(slices.Collect(maps.Keys(subjects)), lastsPage) {
		lasts, err := b.lastMessages(ctx, some, history.Linearizable)
		if err != nil {
			return 0, fmt.Errorf("read the keys of %s in bucket %s: %w", agent, b.name, err)
		}
		for _, m := range lasts {
			if first == 0 || m.Sequence < first {
				first = m.Sequence
			}
		}
	}
	return first, nil
}

// ErasePast removes all values of a key but the last one.
func (b *Bucket) ErasePast(ctx context.Context, key string) error {
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(b.prefix+key), jetstream.WithPurgeKeep(1)); err != nil {
		return fmt.Errorf("remove %s from bucket %s: %w", key, b.name, err)
	}
	return nil
}

// Clear removes all cached answers.
func (c *QueryCache) Clear(ctx context.Context) error {
	s := c.stream(ctx)
	if s == nil {
		return nil
	}
	if err := s.Purge(ctx); err != nil {
		return fmt.Errorf("clear the query cache: %w", err)
	}
	return nil
}
