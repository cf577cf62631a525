package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
)

// openIntake compares durable commands, from the first publish until the last one is
// executed, with commands of 64 clients that wait for their replies.
func openIntake(ctx context.Context, b *bench) (player, error) {
	e, err := b.engine(ctx, "relaxed")
	if err != nil {
		return nil, err
	}
	return funcPlayer{play: func(ctx context.Context, n int) (round, error) {
		return alternate(n, func() (side, error) {
			return enqueue(ctx, e, n, b.size.stored/20)
		}, func() (s side, err error) {
			s, _, err = sets(ctx, e, 64, b.size.lasts)
			return s, err
		})
	}}, nil
}

// enqueue publishes durable commands of 64 agents and waits until the queue is empty.
func enqueue(ctx context.Context, e *engine, round, commands int) (s side, err error) {
	nc, err := e.connect()
	if err != nil {
		return s, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(rawWindow))
	if err != nil {
		return s, err
	}
	queue, err := js.Stream(ctx, intake.CommandsStream)
	if err != nil {
		return s, err
	}
	began := time.Now()
	for i := range commands {
		msg := set("enqueue.agent.q-"+strconv.Itoa(i%64)+".set", "k"+strconv.Itoa(i/64%150), round*commands+i)
		if _, err := js.PublishMsgAsync(msg, stallWait); err != nil {
			return s, err
		}
	}
	if err := allStored(ctx, js); err != nil {
		return s, err
	}
	err = e.until(ctx, 5*time.Minute, "the queue to become empty", func() error {
		info, err := queue.Info(ctx)
		if err == nil && info.State.Msgs > 0 {
			err = fmt.Errorf("%d commands wait", info.State.Msgs)
		}
		return err
	})
	s.value = float64(commands) / time.Since(began).Seconds()
	if err != nil {
		return s, err
	}
	return s, e.caughtUp(ctx)
}
