package natsio

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// EphemeralIdleTimeout is how long the server keeps a consumer without requests.
// The client library creates the consumer of a reader that pauses for longer
// again, at its position.
const EphemeralIdleTimeout = 30 * time.Second

// EphemeralConsumer creates an ordered consumer for one read. The caller must
// call end, which deletes the consumer.
func EphemeralConsumer(ctx context.Context, js jetstream.JetStream, stream string, cfg jetstream.OrderedConsumerConfig) (c jetstream.Consumer, end func(), err error) {
	cfg.InactiveThreshold = EphemeralIdleTimeout
	if c, err = js.OrderedConsumer(ctx, stream, cfg); err != nil {
		return nil, nil, err
	}
	return c, DeleteConsumer(ctx, js, stream, c), nil
}

// DeleteConsumer returns a function that deletes an ordered consumer, also after
// ctx has ended. The client library leaves the consumer on the server, which
// limits the consumers of a stream. A reset changes the consumer's name, so the
// function looks the name up when it runs.
func DeleteConsumer(ctx context.Context, js jetstream.JetStream, stream string, c jetstream.Consumer) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if info := c.CachedInfo(); info != nil {
			_ = js.DeleteConsumer(ctx, stream, info.Name) // on failure the server deletes it after the idle timeout
		}
	}
}
