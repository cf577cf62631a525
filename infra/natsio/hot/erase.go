package hot

import (
	"context"
	"fmt"

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
		if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeKeep(1)); err != nil {
			return fmt.Errorf("remove %s from bucket %s: %w", subject, b.name, err)
		}
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
