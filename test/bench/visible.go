package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
)

// prober measures how long one write takes to become visible, for the engine and
// for the yardstick.
type prober struct {
	own, yard func(ctx context.Context, i int) (time.Duration, error)
	close     func()
	plus      time.Duration // added to the yardstick
}

// openVisible alternates both probes under the same load: half of the engine's peak
// rate.
func openVisible(probe func(ctx context.Context, e *engine) (prober, error)) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (player, error) {
		e, err := b.engine(ctx, "relaxed")
		if err != nil {
			return nil, err
		}
		full, _, err := sets(ctx, e, 64, 2*b.size.lasts)
		if err != nil {
			return nil, err
		}
		p, err := probe(ctx, e)
		if err != nil {
			return nil, err
		}
		return funcPlayer{cleanup: p.close, play: func(ctx context.Context, n int) (r round, err error) {
			one := setter("load", 64)(0)
			stop, err := paced(e.url, full.value/2, func(i int) *nats.Msg {
				msg := one.next(i)
				msg.Subject = "commands.agent.load-" + strconv.Itoa(i%64) + ".set"
				return msg
			})
			if err != nil {
				return r, err
			}
			for i := range b.size.probes {
				id := n*b.size.probes + i
				took, err := p.own(ctx, id)
				if err == nil {
					r.own.latency = append(r.own.latency, took)
					if took, err = p.yard(ctx, id); err == nil {
						r.yard.latency = append(r.yard.latency, took+p.plus)
					}
				}
				if err != nil {
					return r, errors.Join(err, stop())
				}
			}
			r.own.value, r.yard.value = p50(r.own), p50(r.yard)
			r.note = fmt.Sprintf("under %s commands/s", number(full.value/2))
			if err := stop(); err != nil {
				return r, err
			}
			return r, e.caughtUp(ctx)
		}}, nil
	}
}

const probeLimit = 30 * time.Second

// probeKV waits until a watcher of the bucket receives the change of a command or of
// a plain put.
func probeKV(ctx context.Context, e *engine) (p prober, err error) {
	nc, err := e.connect()
	if err != nil {
		return p, err
	}
	p.close = nc.Close
	js, err := jetstream.New(nc)
	if err != nil {
		return p, err
	}
	state, err := js.KeyValue(ctx, hot.AgentStateBucket.Name)
	if err != nil {
		return p, err
	}
	plainKV, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "BENCH", History: 3})
	if err != nil {
		return p, err
	}
	watch := func(kv jetstream.KeyValue) (func() error, error) {
		w, err := kv.Watch(ctx, "probe.key", jetstream.UpdatesOnly())
		if err != nil {
			return nil, err
		}
		return func() error {
			select {
			case <-w.Updates():
				return nil
			case <-time.After(probeLimit):
				return errors.New("the watcher received no update")
			}
		}, nil
	}
	ownWatched, err := watch(state)
	if err != nil {
		return p, err
	}
	yardWatched, err := watch(plainKV)
	p.own = func(_ context.Context, i int) (time.Duration, error) {
		start := time.Now()
		if err := nc.PublishMsg(set("commands.agent.probe.set", "key", i)); err != nil {
			return 0, err
		}
		err := ownWatched()
		return time.Since(start), err
	}
	p.yard = func(ctx context.Context, i int) (time.Duration, error) {
		start := time.Now()
		if _, err := plainKV.Put(ctx, "probe.key", value(nil, i)); err != nil {
			return 0, err
		}
		err := yardWatched()
		return time.Since(start), err
	}
	return p, err
}

// flushInterval is the engine's default.
const flushInterval = 20 * time.Millisecond

// probeSQL polls until the row is visible; the yardstick is one upsert plus the
// engine's flush interval.
func probeSQL(ctx context.Context, e *engine) (p prober, err error) {
	nc, err := e.connect()
	if err != nil {
		return p, err
	}
	pool, err := rawPool(ctx, e, `CREATE TABLE IF NOT EXISTS bench.probe (agent text, key text, value jsonb, PRIMARY KEY (agent, key))`)
	if err != nil {
		nc.Close()
		return p, err
	}
	p.close = func() {
		nc.Close()
		pool.Close()
	}
	p.plus = flushInterval
	p.own = func(ctx context.Context, i int) (time.Duration, error) {
		msg := set("commands.agent.probe.set", "sql", i)
		want := string(value(nil, i))
		look := time.NewTicker(500 * time.Microsecond)
		defer look.Stop()
		start := time.Now()
		if err := nc.PublishMsg(msg); err != nil {
			return 0, err
		}
		for time.Since(start) < probeLimit {
			var there bool
			if err := pool.QueryRow(ctx, `SELECT count(*) > 0 FROM agents.state
				WHERE agent_id = 'probe' AND state_key = 'sql' AND state_text = $1`, want).Scan(&there); err != nil {
				return 0, err
			}
			if there {
				return time.Since(start), nil
			}
			<-look.C
		}
		return 0, errors.New("the row did not become visible")
	}
	p.yard = func(ctx context.Context, i int) (time.Duration, error) {
		start := time.Now()
		_, err := pool.Exec(ctx, `INSERT INTO bench.probe VALUES ('probe', 'sql', $1::text::jsonb)
			ON CONFLICT (agent, key) DO UPDATE SET value = excluded.value`, string(value(nil, i)))
		return time.Since(start), err
	}
	return p, nil
}
