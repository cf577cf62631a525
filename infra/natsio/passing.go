package natsio

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// passingIdle is how long the server keeps a consumer whose reader has died.
// One that pauses for longer is made again where it was.
const passingIdle = 30 * time.Second

// passing makes an ordered consumer for one reading. The client library leaves
// it on the server when the reading ends; end removes it, for the server bounds
// how many a stream has.
func passing(ctx context.Context, js jetstream.JetStream, stream string, cfg jetstream.OrderedConsumerConfig) (c jetstream.Consumer, end func(), err error) {
	cfg.InactiveThreshold = passingIdle
	if c, err = js.OrderedConsumer(ctx, stream, cfg); err != nil {
		return nil, nil, err
	}
	return c, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if info := c.CachedInfo(); info != nil {
			_ = js.DeleteConsumer(ctx, stream, info.Name) // else it goes by itself
		}
	}, nil
}
