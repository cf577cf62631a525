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

// ephemeralTimeout bounds the creation of a consumer where the context has no deadline.
const ephemeralTimeout = 5 * time.Second

// EphemeralConsumer creates an ordered consumer for one read. The caller must
// call end, which deletes the consumer. A request without an answer is repeated: the
// server may have made a consumer all the same, which ends after EphemeralIdleTimeout.
func EphemeralConsumer(ctx context.Context, js jetstream.JetStream, stream string, cfg jetstream.OrderedConsumerConfig) (c jetstream.Consumer, end func(), err error) {
	cfg.InactiveThreshold = EphemeralIdleTimeout
	creating, cancel := ctx, context.CancelFunc(func() {})
	if _, bounded := ctx.Deadline(); !bounded {
		creating, cancel = context.WithTimeout(ctx, ephemeralTimeout)
	}
	defer cancel()
	err = Attempt(creating, func(ctx context.Context) error {
		c, err = js.OrderedConsumer(ctx, stream, cfg)
		return err
	})
	if err != nil {
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
