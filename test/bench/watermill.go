package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// SetEntry and EntrySet are the command and the event of the Watermill loop.
type (
	SetEntry struct{ Agent, Key, Value string }
	EntrySet struct{ Agent, Key, Value string }
)

// loop is a running hand-written Watermill CQRS loop.
type loop struct {
	bus         *cqrs.CommandBus
	router      *message.Router
	kv          jetstream.KeyValue
	pool        *pgxpool.Pool
	nc          *nats.Conn
	inKV, inSQL atomic.Int64
}

const wmStream = "BENCH_WM"

// openWatermill measures commands until both read models have applied all of them.
func openWatermill(ctx context.Context, b *bench) (player, error) {
	e, err := b.engine(ctx, "relaxed")
	if err != nil {
		return nil, err
	}
	l, err := startLoop(ctx, e)
	if err != nil {
		return nil, err
	}
	return funcPlayer{cleanup: l.close, play: func(ctx context.Context, n int) (round, error) {
		return alternate(n, func() (side, error) {
			began := time.Now()
			s, _, err := sets(ctx, e, 64, b.size.lasts) // returns when all views have caught up
			s.value = float64(len(s.latency)) / time.Since(began).Seconds()
			s.latency = nil
			return s, err
		}, func() (side, error) { return l.play(ctx, b.size.stored/100) })
	}}, nil
}

// play sends commands from 64 clients and waits for both read models.
func (l *loop) play(ctx context.Context, commands int) (s side, err error) {
	kv, sql := l.inKV.Load(), l.inSQL.Load()
	began := time.Now()
	errs := make([]error, 64)
	var all sync.WaitGroup
	for w := range 64 {
		all.Go(func() {
			for i := w; i < commands && errs[w] == nil; i += 64 {
				v := value(nil, i)
				errs[w] = l.bus.Send(ctx, &SetEntry{Agent: "w" + strconv.Itoa(w), Key: "k" + strconv.Itoa(i%150), Value: string(v[1 : len(v)-1])})
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return s, err
	}
	for limit := time.Now().Add(2 * time.Minute); l.inKV.Load()-kv < int64(commands) || l.inSQL.Load()-sql < int64(commands); {
		if time.Now().After(limit) || ctx.Err() != nil {
			return s, fmt.Errorf("of %d commands %d are in KV and %d in SQL", commands, l.inKV.Load()-kv, l.inSQL.Load()-sql)
		}
		time.Sleep(time.Millisecond)
	}
	s.value = float64(commands) / time.Since(began).Seconds()
	return s, nil
}

func startLoop(ctx context.Context, e *engine) (l *loop, err error) {
	l = &loop{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.nc, err = e.connect(); err != nil {
		return l, err
	}
	js, err := jetstream.New(l.nc)
	if err != nil {
		return l, err
	}
	if _, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: wmStream, Subjects: []string{"wm.>"}}); err != nil {
		return l, err
	}
	if l.kv, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: wmStream, History: 3}); err != nil {
		return l, err
	}
	if l.pool, err = rawPool(ctx, e, `CREATE TABLE IF NOT EXISTS bench.wm (agent text, key text, value text, PRIMARY KEY (agent, key))`); err != nil {
		return l, err
	}
	return l, l.wire(e.url)
}

// wire connects buses, processors and router as the Watermill documentation does.
func (l *loop) wire(url string) error {
	log := watermill.NopLogger{}
	pub, err := wmnats.NewPublisher(wmnats.PublisherConfig{URL: url}, log)
	if err != nil {
		return err
	}
	subscriber := func(name string, count int) (message.Subscriber, error) {
		return wmnats.NewSubscriber(wmnats.SubscriberConfig{
			URL: url, QueueGroupPrefix: name, SubscribersCount: count, CloseTimeout: 5 * time.Second,
			JetStream: wmnats.JetStreamConfig{DurablePrefix: name,
				SubscribeOptions: []nats.SubOpt{nats.DeliverAll(), nats.AckExplicit(), nats.BindStream(wmStream)}},
		}, log)
	}
	if l.router, err = message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, log); err != nil {
		return err
	}
	json := cqrs.JSONMarshaler{GenerateName: cqrs.StructName}
	if l.bus, err = cqrs.NewCommandBusWithConfig(pub, cqrs.CommandBusConfig{Marshaler: json,
		GeneratePublishTopic: func(p cqrs.CommandBusGeneratePublishTopicParams) (string, error) {
			return "wm.commands." + p.CommandName, nil
		}}); err != nil {
		return err
	}
	events, err := cqrs.NewEventBusWithConfig(pub, cqrs.EventBusConfig{Marshaler: json,
		GeneratePublishTopic: func(p cqrs.GenerateEventPublishTopicParams) (string, error) {
			return "wm.events." + p.EventName, nil
		}})
	if err != nil {
		return err
	}
	commands, err := cqrs.NewCommandProcessorWithConfig(l.router, cqrs.CommandProcessorConfig{Marshaler: json,
		GenerateSubscribeTopic: func(p cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) {
			return "wm.commands." + p.CommandName, nil
		},
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return subscriber("commands", 4)
		}})
	if err != nil {
		return err
	}
	views, err := cqrs.NewEventProcessorWithConfig(l.router, cqrs.EventProcessorConfig{Marshaler: json,
		GenerateSubscribeTopic: func(p cqrs.EventProcessorGenerateSubscribeTopicParams) (string, error) {
			return "wm.events." + p.EventName, nil
		},
		SubscriberConstructor: func(p cqrs.EventProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return subscriber(p.HandlerName, 1) // only a single subscriber preserves the order of events
		}})
	if err != nil {
		return err
	}
	if err := commands.AddHandlers(cqrs.NewCommandHandler("set", func(ctx context.Context, c *SetEntry) error {
		return events.Publish(ctx, &EntrySet{c.Agent, c.Key, c.Value})
	})); err != nil {
		return err
	}
	if err := views.AddHandlers(cqrs.NewEventHandler("kv", l.toKV), cqrs.NewEventHandler("sql", l.toSQL)); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- l.router.Run(context.Background()) }()
	select {
	case <-l.router.Running():
		return nil
	case err := <-failed:
		return fmt.Errorf("the Watermill router ended: %w", err)
	}
}

func (l *loop) toKV(ctx context.Context, ev *EntrySet) error {
	_, err := l.kv.PutString(ctx, ev.Agent+"."+ev.Key, ev.Value)
	l.inKV.Add(1)
	return err
}

func (l *loop) toSQL(ctx context.Context, ev *EntrySet) error {
	_, err := l.pool.Exec(ctx, `INSERT INTO bench.wm VALUES ($1, $2, $3)
		ON CONFLICT (agent, key) DO UPDATE SET value = excluded.value`, ev.Agent, ev.Key, ev.Value)
	l.inSQL.Add(1)
	return err
}

func (l *loop) close() {
	if l.router != nil {
		_ = l.router.Close()
	}
	if l.pool != nil {
		l.pool.Close()
	}
	if l.nc != nil {
		l.nc.Close()
	}
}
