package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

func missing(err error) bool {
	return errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}

// readKeys is the number of entries that the reading clients query in turn.
const readKeys = 1000

// writeEntries writes the entries to read and returns the size of a reply in bytes.
func writeEntries(ctx context.Context, e *engine) (answer int, err error) {
	nc, err := e.connect()
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	for i := range readKeys {
		reply, err := nc.RequestMsgWithContext(ctx, set("commands.agent.reads.set", "k"+strconv.Itoa(i), i))
		if err != nil {
			return 0, err
		}
		if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
			return 0, fmt.Errorf("set: %s", reply.Data)
		}
	}
	if err := e.caughtUp(ctx); err != nil {
		return 0, err
	}
	reply, err := nc.RequestWithContext(ctx, "queries.agent.reads.get", []byte(`{"key":"k0"}`))
	if err != nil {
		return 0, err
	}
	return len(reply.Data), nil
}

// reader returns clients that read the entries in turn at a consistency level.
func reader(subject, consistency string) func(w int) client {
	return func(w int) client {
		return client{
			next: func(i int) *nats.Msg {
				return &nats.Msg{Subject: subject,
					Data: []byte(`{"key":"k` + strconv.Itoa((w*7+i)%readKeys) + `","consistency":"` + consistency + `"}`)}
			},
			check: func(reply *nats.Msg) error {
				if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
					return fmt.Errorf("%s %s", code, reply.Data)
				}
				return nil
			},
		}
	}
}

const readSubject = "queries.agent.reads.get"

// openQueryRate measures the rate of queries answered from memory.
func openQueryRate(ctx context.Context, b *bench) (player, error) {
	return openQuery(ctx, b, "cached", 64, func(s side) float64 { return s.value }, nil)
}

func p50(s side) float64 { return millis(percentile(s.latency, 0.5)) }

// openQueryAlone measures the latency of queries answered from memory.
func openQueryAlone(ctx context.Context, b *bench) (player, error) {
	return openQuery(ctx, b, "cached", 1, p50, nil)
}

// openQueryKV compares the latency of queries answered from the bucket with a
// request and a get of the key.
func openQueryKV(ctx context.Context, b *bench) (player, error) {
	return openQuery(ctx, b, "hot", 1, p50, func(ctx context.Context, e *engine) (float64, error) {
		nc, err := e.connect()
		if err != nil {
			return 0, err
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return 0, err
		}
		kv, err := js.KeyValue(ctx, hot.AgentStateBucket.Name)
		if err != nil {
			return 0, err
		}
		var took []time.Duration
		for i := range 10 * b.size.probes {
			start := time.Now()
			if _, err := kv.Get(ctx, "reads.k"+strconv.Itoa(i%readKeys)); err != nil {
				return 0, err
			}
			took = append(took, time.Since(start))
		}
		return millis(percentile(took, 0.5)), nil
	})
}

func openQuery(ctx context.Context, b *bench, consistency string, clients int, value func(side) float64,
	more func(context.Context, *engine) (float64, error)) (player, error) {
	e, err := b.engine(ctx, "relaxed")
	if err != nil {
		return nil, err
	}
	size, err := writeEntries(ctx, e)
	return funcPlayer{play: func(ctx context.Context, n int) (round, error) {
		return alternate(n,
			func() (side, error) {
				s, err := closedLoop(ctx, e.connect, newClients(clients, reader(readSubject, consistency)), b.size.lasts)
				s.value = value(s)
				return s, err
			},
			func() (s side, err error) {
				responder, err := echo(e.url, echoSubject, size)
				if err != nil {
					return s, err
				}
				defer responder.Close()
				if s, err = closedLoop(ctx, e.connect, newClients(clients, reader(echoSubject, consistency)), b.size.lasts); err != nil {
					return s, err
				}
				s.value = value(s)
				if more != nil {
					v, err := more(ctx, e)
					s.value += v
					return s, err
				}
				return s, nil
			})
	}}, err
}

// openTiered compares the tiered read of a row in memory with a bare cache, both in
// this process.
func openTiered(ctx context.Context, b *bench) (player, error) {
	b.stop()
	r, err := newRig(ctx, false)
	if err != nil {
		return nil, err
	}
	p := projections.NewProgress(1)
	memory := tiers.NewMemory(tiers.MemoryConfig{Partitions: 1, Tail: p})
	memory.Start(0, 0)
	type entry struct{ agent, key string }
	cache := otter.Must(&otter.Options[entry, []byte]{MaximumSize: 10 * readKeys})
	keys := make([]string, readKeys)
	for i := range keys {
		keys[i] = "k" + strconv.Itoa(i)
		memory.Apply(0, readmodel.Entry{Agent: "a", Key: keys[i], Value: value(nil, i), Version: 1, Revision: uint64(i + 1)}, false)
		cache.Set(entry{"a", keys[i]}, value(nil, i))
	}
	p.Set(0, readKeys)
	read := &tiers.Tiers{Memory: memory, HotProgress: p, Journal: query.Rows{History: history.New(r.journal, nil, 0)}}
	return funcPlayer{cleanup: r.close, play: func(ctx context.Context, n int) (round, error) {
		var allocs float64
		got, err := alternate(n,
			func() (s side, err error) {
				s.value, allocs, err = each(func(i int) error {
					a, err := read.Get(ctx, "a", keys[i%readKeys], tiers.Cached, 0)
					if err == nil && a.Source != tiers.FromMemory {
						err = fmt.Errorf("answered from %s, not from memory", a.Source)
					}
					return err
				})
				return s, err
			},
			func() (s side, err error) {
				s.value, _, err = each(func(i int) error {
					if _, ok := cache.GetIfPresent(entry{"a", keys[i%readKeys]}); !ok {
						return errors.New("the cache has lost a key")
					}
					return nil
				})
				return s, err
			})
		got.note = fmt.Sprintf("%.2f allocations a read", allocs)
		return got, err
	}}, nil
}

// each returns the mean time in nanoseconds and the mean allocations of a call.
func each(call func(i int) error) (nanos, allocs float64, err error) {
	const calls = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	for i := range calls {
		if err := call(i); err != nil {
			return 0, 0, err
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return float64(took) / calls, float64(after.Mallocs-before.Mallocs) / calls, nil
}

// openLoad measures the load of an aggregate with a number of events that is not in
// memory, as commands do it: read the journal and decode.
func openLoad(count int) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (player, error) {
		b.stop()
		r, err := newRig(ctx, false)
		if err != nil {
			return nil, err
		}
		// Events of other aggregates surround it, as in production.
		if _, err = r.fill(ctx, count, func(int) (string, string) { return "old", "entry" }); err == nil {
			_, err = r.fill(ctx, 10_000, distinct)
		}
		if err != nil {
			r.close()
			return nil, err
		}
		stream, h := events.StateEntry("old", "entry"), history.New(r.journal, nil, 0)
		raw, err := r.js.Stream(ctx, natsio.StreamName(0, 1))
		return funcPlayer{cleanup: r.close, play: func(ctx context.Context, n int) (round, error) {
			return alternate(n,
				func() (side, error) {
					return timed(10*b.size.probes, func() error {
						rec, ok, err := h.Last(ctx, stream, history.Fast)
						if err == nil && (!ok || rec.Version != uint64(count)) {
							err = fmt.Errorf("the last event is %d of %d", rec.Version, count)
						}
						return err
					})
				},
				func() (side, error) {
					return timed(10*b.size.probes, func() error {
						_, err := raw.GetLastMsgForSubject(ctx, "events."+string(stream))
						return err
					})
				})
		}}, err
	}
}

// timed measures the median time of a call in milliseconds.
func timed(calls int, call func() error) (s side, err error) {
	for range calls {
		start := time.Now()
		if err := call(); err != nil {
			return s, err
		}
		s.latency = append(s.latency, time.Since(start))
	}
	s.value = p50(s)
	return s, nil
}
