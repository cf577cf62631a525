package natsio

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// passingIdle is how long the server keeps a consumer whose reader has died.
// One that pauses for longer is made again where it was.
const passingIdle = 30 * time.Second

// passing creates an ordered consumer for one read; end deletes it.
func EphemeralConsumer(ctx context.Context, js jetstream.JetStream, stream string, cfg jetstream.OrderedConsumerConfig) (c jetstream.Consumer, end func(), err error) {
	cfg.InactiveThreshold = passingIdle
	if c, err = js.OrderedConsumer(ctx, stream, cfg); err != nil {
		return nil, nil, err
	}
	return c, DeleteConsumer(ctx, js, stream, c), nil
}

// deleteConsumer returns a function that deletes an ordered consumer, also after
// ctx has ended. The client library leaves the consumer on the server, which
// bounds how many a stream has. A consumer that was reset has another name, so
// the function asks for the present one.
func DeleteConsumer(ctx context.Context, js jetstream.JetStream, stream string, c jetstream.Consumer) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if info := c.CachedInfo(); info != nil {
			_ = js.DeleteConsumer(ctx, stream, info.Name) // else the server deletes it when it was idle for long enough
		}
	}
}
