package intake

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmjs "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cenkalti/backoff/v5"
)

// flow is a running router with its one subscriber, on a connection of its own,
// for Watermill drains the connection when it closes the subscriber.
type flow struct {
	router *message.Router
	sub    message.Subscriber
	conn   *nats.Conn
	door   *door
	stop   context.CancelFunc
	ended  chan struct{} // closed when the router's Run returns
}

// source is one consumer that a flow reads.
type source struct {
	stream string
	config jetstream.ConsumerConfig
	pull   int // messages asked for at once
}

// flowConfig says what a flow reads and what it does with it.
type flowConfig struct {
	name     string
	sources  map[string]source // by Watermill's topic
	nakDelay wmjs.Delay
	// handlers adds the handlers and middleware to the router. stopping ends
	// when the flow is asked to stop.
	handlers func(stopping context.Context, r *message.Router, sub message.Subscriber, log watermill.LoggerAdapter) error
}

// closeTime bounds Watermill's own part of a stop. By then every message is
// settled, so it is never used up.
const closeTime = 10 * time.Second

// open makes the consumers and starts the router; it returns when it reads.
func (in *Intake) open(ctx context.Context, cfg flowConfig) (_ *flow, err error) {
	f := &flow{door: newDoor(), ended: make(chan struct{})}
	stopping, stop := context.WithCancel(in.stopping)
	f.stop = stop
	if f.conn, err = in.cfg.Connect(cfg.name); err != nil {
		stop()
		return nil, err
	}
	log := quiet(in.cfg.Log.With("flow", cfg.name))
	f.sub, err = f.subscriber(ctx, cfg, log)
	if err == nil {
		f.router, err = message.NewRouter(message.RouterConfig{CloseTimeout: closeTime}, log)
	}
	if err == nil {
		err = cfg.handlers(stopping, f.router, f.sub, log)
	}
	if err != nil {
		stop()
		f.conn.Close()
		return nil, err
	}
	go func() {
		defer close(f.ended)
		// Never cancelled: a cancelled Run may send on a channel that it has
		// closed. Only close ends it.
		if err := f.router.Run(context.Background()); err != nil {
			in.cfg.Log.Error("the router ended", "flow", cfg.name, "error", err)
		}
	}()
	select {
	case <-f.router.Running():
		return f, nil
	case <-f.ended:
		f.close()
		return nil, fmt.Errorf("the flow %s did not start", cfg.name)
	}
}

// subscriber makes the consumers and wraps them, so that the door decides what
// Watermill gets to see.
func (f *flow) subscriber(ctx context.Context, cfg flowConfig, log watermill.LoggerAdapter) (message.Subscriber, error) {
	js, err := jetstream.New(f.conn)
	if err != nil {
		return nil, err
	}
	consumers, err := f.consumers(ctx, js, cfg.sources)
	if err != nil {
		return nil, err
	}
	return wmjs.NewSubscriber(wmjs.SubscriberConfig{
		Conn: f.conn, Logger: log, Unmarshaler: unmarshaler{}, NakDelay: cfg.nakDelay,
		// An ack that gets lost costs a redelivery, which finds the work done.
		AckAsync: true,
		// The door keeps a message alive for as long as its handler takes.
		AckWaitTimeout: 24 * time.Hour,
		ResourceInitializer: func(_ context.Context, _ jetstream.JetStream, topic string) (
			jetstream.Consumer, func(context.Context, watermill.LoggerAdapter), error) {
			return consumers[topic], nil, nil
		},
	})
}

// consumers makes them all at once: one after the other they cost a start half
// a second.
func (f *flow) consumers(ctx context.Context, js jetstream.JetStream, sources map[string]source) (map[string]jetstream.Consumer, error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	var failed error
	made := map[string]jetstream.Consumer{}
	for topic, src := range sources {
		all.Go(func() {
			c, err := js.CreateOrUpdateConsumer(ctx, src.stream, src.config)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = fmt.Errorf("consumer %s of %s: %w", src.config.Durable, src.stream, err)
			}
			made[topic] = &guarded{Consumer: c, door: f.door, beat: src.config.AckWait / 4, pull: src.pull}
		})
	}
	all.Wait()
	return made, failed
}

// close lets what is under way come to its end and takes nothing more. Only
// then is the router closed: with a delivery under way Watermill may send on a
// channel that it has closed.
func (f *flow) close() {
	f.stop()
	f.door.shut()
	_ = f.conn.FlushTimeout(2 * time.Second) // an ack that gets lost is a redelivery
	_ = f.router.Close()                     // logged by the router
	<-f.ended
	_ = f.sub.Close() // the router closes it too, but does not wait for that
	f.conn.Close()
	f.door.gone()
}

// quiet is Watermill's log: what it tells of every message is a detail here.
func quiet(log *slog.Logger) watermill.LoggerAdapter {
	return watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelDebug: slog.LevelDebug - 4, watermill.LevelTrace: slog.LevelDebug - 8,
	})
}

// keeper keeps a flow running: one whose consumer was deleted, or that lost its
// subscription otherwise, is built anew.
type keeper struct {
	done chan struct{}
}

func keep(ctx, stopping context.Context, build func(context.Context) (*flow, error), log *slog.Logger) (*keeper, error) {
	f, err := build(ctx)
	if err != nil {
		return nil, err
	}
	k := &keeper{done: make(chan struct{})}
	go func() {
		defer close(k.done)
		for f != nil {
			select {
			case <-stopping.Done():
				f.close()
				return
			case <-f.door.broken:
			}
			log.Error("a consumer of the intake was ended from outside; it is made anew")
			f.close()
			f = rebuild(stopping, build, log)
		}
	}()
	return k, nil
}

// rebuild tries until it succeeds; nil when the intake stops first.
func rebuild(stopping context.Context, build func(context.Context) (*flow, error), log *slog.Logger) *flow {
	f, err := backoff.Retry(stopping, func() (*flow, error) {
		ctx, cancel := context.WithTimeout(stopping, 30*time.Second)
		defer cancel()
		return build(ctx)
	}, backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, next time.Duration) {
		log.Warn("the intake cannot be resumed yet", "error", err, "again_in", next)
	}))
	if err != nil {
		return nil
	}
	return f
}
