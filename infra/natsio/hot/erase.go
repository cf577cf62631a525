package hot

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// EraseAgent removes what the bucket has of an erased agent but the last message of
// each key, which must be a tombstone by now.
func (b *Bucket) EraseAgent(ctx context.Context, agent string) error {
	info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(b.prefix+agent+".>"))
	if err != nil {
		return fmt.Errorf("list the keys of %s in bucket %s: %w", agent, b.name, err)
	}
	for subject := range info.State.Subjects {
		if err := b.ErasePast(ctx, strings.TrimPrefix(subject, b.prefix)); err != nil {
			return err
		}
	}
	return nil
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
