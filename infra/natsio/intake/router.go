package intake

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmjs "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/logs"
)

// router is a running Watermill router with one subscriber. It has its own
// connection, because Watermill drains the connection when it closes the
// subscriber.
type router struct {
	router *message.Router
	sub    message.Subscriber
	conn   *nats.Conn
	gate   *drainGate
	stop   context.CancelFunc
	ended  chan struct{} // closed when Watermill's Run returns
}

// source is one consumer that a router reads.
type source struct {
	stream string
	config jetstream.ConsumerConfig
	pull   int // messages per pull request
}

type routerConfig struct {
	name     string
	sources  map[string]source // by Watermill topic
	nakDelay wmjs.Delay        // nil = commands: commandSubscriber
	// handlers adds handlers and middleware. stopping ends when the router is
	// asked to stop.
	handlers func(stopping context.Context, r *message.Router, sub message.Subscriber, log watermill.LoggerAdapter) error
}

// closeTime bounds Watermill's part of a stop. Every message is settled by then.
const closeTime = 10 * time.Second

// openRouter creates the consumers, starts the router and returns when it reads.
func (in *Intake) openRouter(ctx context.Context, cfg routerConfig) (_ *router, err error) {
	r := &router{gate: newDrainGate(), ended: make(chan struct{})}
	stopping, stop := context.WithCancel(in.stopping)
	r.stop = stop
	if r.conn, err = in.cfg.Connect(cfg.name); err != nil {
		stop()
		return nil, err
	}
	log := watermillLog(in.cfg.Log.With("router", cfg.name))
	r.sub, err = in.subscriber(ctx, r, stopping, cfg, log)
	if err == nil {
		r.router, err = message.NewRouter(message.RouterConfig{CloseTimeout: closeTime}, log)
	}
	if err == nil {
		err = cfg.handlers(stopping, r.router, r.sub, log)
	}
	if err != nil {
		stop()
		if r.sub != nil {
			_ = r.sub.Close()
		}
		r.conn.Close()
		return nil, err
	}
	go func() {
		defer close(r.ended)
		// Only close ends Run: a cancelled Run may send on a closed channel.
		if err := r.router.Run(context.Background()); err != nil {
			in.cfg.Log.Error("the router ended", "router", cfg.name, "error", err)
		}
	}()
	select {
	case <-r.router.Running():
		return r, nil
	case <-r.ended:
		r.close()
		return nil, fmt.Errorf("the router %s did not start; the log has the reason", cfg.name)
	}
}

// subscriber creates the consumers behind the drain gate.
func (in *Intake) subscriber(ctx context.Context, r *router, stopping context.Context, cfg routerConfig, log watermill.LoggerAdapter) (message.Subscriber, error) {
	js, err := jetstream.New(r.conn)
	if err != nil {
		return nil, err
	}
	consumers, err := r.consumers(ctx, js, cfg)
	if err != nil {
		return nil, err
	}
	if cfg.nakDelay == nil {
		return newCommandSubscriber(in, r.gate, stopping, consumers), nil
	}
	return wmjs.NewSubscriber(wmjs.SubscriberConfig{
		Conn: r.conn, Logger: log, Unmarshaler: unmarshaler{}, NakDelay: cfg.nakDelay,
		// A lost ack costs a redelivery, which finds the work done.
		AckAsync: true,
		// The drain gate extends the ack wait for as long as the handler runs.
		AckWaitTimeout: 24 * time.Hour,
		ResourceInitializer: func(_ context.Context, _ jetstream.JetStream, topic string) (
			jetstream.Consumer, func(context.Context, watermill.LoggerAdapter), error) {
			return consumers[topic], nil, nil
		},
	})
}

// consumers creates all consumers concurrently: in turn they delay a start by
// half a second.
func (r *router) consumers(ctx context.Context, js jetstream.JetStream, cfg routerConfig) (map[string]jetstream.Consumer, error) {
	var mu sync.Mutex
	var g errgroup.Group
	created := map[string]jetstream.Consumer{}
	for topic, src := range cfg.sources {
		g.Go(func() error {
			var c jetstream.Consumer
			err := natsio.Attempt(ctx, func(ctx context.Context) (err error) {
				c, err = js.CreateOrUpdateConsumer(ctx, src.stream, src.config)
				return err
			})
			if err != nil {
				return natsio.ConsumerError(src.stream, src.config.Durable, err)
			}
			mu.Lock()
			defer mu.Unlock()
			gated := &gatedConsumer{Consumer: c, gate: r.gate, pull: src.pull}
			if cfg.nakDelay != nil { // else the subscriber extends the ack wait
				gated.heartbeat = src.config.AckWait / 4
			}
			created[topic] = gated
			return nil
		})
	}
	return created, g.Wait()
}

// close lets messages in progress finish and takes no new ones. Watermill's
// router is closed last: during a delivery it may send on a closed channel.
func (r *router) close() {
	r.stop()
	r.gate.drain()
	_ = r.conn.FlushTimeout(2 * time.Second) // a lost ack is a redelivery
	_ = r.router.Close()                     // logged by the router
	<-r.ended
	_ = r.sub.Close() // the router closes it too, but does not wait
	r.conn.Close()
	r.gate.wait()
}

// watermillLog lowers Watermill's levels: it logs every message. It limits the errors: Watermill
// logs each attempt of each command that must wait.
func watermillLog(log *slog.Logger) watermill.LoggerAdapter {
	return limitedErrors{watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelDebug: slog.LevelDebug - 4, watermill.LevelTrace: slog.LevelDebug - 8,
	}), logs.NewLimited(log, logs.ByClients)}
}

type limitedErrors struct {
	watermill.LoggerAdapter
	log logs.Limited
}

// Error implements watermill.LoggerAdapter.
func (l limitedErrors) Error(msg string, err error, fields watermill.LogFields) {
	args := []any{"error", err}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		args = append(args, name, fields[name])
	}
	l.log.Error(msg, args...)
}

// With implements watermill.LoggerAdapter; the errors have one limit.
func (l limitedErrors) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return limitedErrors{l.LoggerAdapter.With(fields), l.log}
}
