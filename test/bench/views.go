package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
)

// fold measures the rate of a view from the journal's start to its head.
func (r *rig) fold(ctx context.Context, t projections.Target, p *projections.Progress, head uint64, b projections.Batching) (s side, err error) {
	return r.play(ctx, &projections.Runner{View: "bench", Source: history.New(r.journal, nil, 0).Retained(), Target: t, Batching: b, Progress: p, Log: r.log}, head)
}

// foldNotified measures the rate of the durable view while the view notifications
// follows it.
func (r *rig) foldNotified(ctx context.Context, db *pg.DB, streams *feeds.Streams, head uint64) (s side, err error) {
	store, err := quarantine.Open(ctx, r.nc, r.log)
	if err != nil {
		return s, err
	}
	n := feeds.NewNotifications(streams, history.New(r.journal, nil, 0), durable.NewPosition(db, "durable"))
	gate := projections.NewGate("durable", 1, n)
	behind := &projections.Runner{View: durable.Notifications, Source: history.New(r.journal, nil, 0).Retained(), Target: n, Progress: projections.NewProgress(1),
		Batching: projections.Batching{Busy: 20 * time.Millisecond, Max: 4000}, Log: r.log, Quarantine: store, Follows: gate}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	var running sync.WaitGroup
	running.Go(func() { behind.Run(ctx) })
	s, err = r.play(ctx, &projections.Runner{View: "bench", Source: history.New(r.journal, nil, 0).Retained(), Target: durable.New(db, "durable"), Progress: projections.NewProgress(1),
		Batching: projections.Batching{Threshold: 50, Interval: 20 * time.Millisecond, Busy: 20 * time.Millisecond, Max: 4000}, Log: r.log, Leads: gate}, head)
	if err == nil && !behind.Progress.Wait(ctx, 0, head) {
		err = fmt.Errorf("the notifications are at %d of %d", behind.Progress.At(0), head)
	}
	cancel()
	running.Wait()
	return s, err
}

// play runs a view until it has caught up and returns its rate in events/s.
func (r *rig) play(ctx context.Context, runner *projections.Runner, head uint64) (s side, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	p := runner.Progress
	ended := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		runner.Run(ctx)
	}()
	if !p.Wait(ctx, 0, head) {
		err = fmt.Errorf("the view is at %d of %d", p.At(0), head)
	}
	s.value = float64(head) / time.Since(began).Seconds()
	cancel()
	<-ended
	return s, err
}

// openSQL measures the durable view into a new database, with its notifications, as
// the engine runs it.
func openSQL(where entryFunc) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (player, error) {
		b.stop()
		r, err := newRig(ctx, true)
		if err != nil {
			return nil, err
		}
		head, err := r.fill(ctx, b.size.stored, where)
		if err == nil {
			err = fillRaw(ctx, r.js, b.size.stored, where)
		}
		if err != nil {
			r.close()
			return nil, err
		}
		return funcPlayer{cleanup: r.close, play: func(ctx context.Context, n int) (round, error) {
			return alternate(n,
				func() (side, error) { return r.foldSQL(ctx, head) },
				func() (side, error) {
					pool, err := openPool(ctx, r.pg.SuperuserURL())
					if err != nil {
						return side{}, err
					}
					defer pool.Close()
					return rawFold(ctx, r.js, pool, b.size.stored)
				})
		}}, nil
	}
}

func (r *rig) foldSQL(ctx context.Context, head uint64) (s side, err error) {
	admin, err := pgx.Connect(ctx, r.pg.SuperuserURL())
	if err != nil {
		return s, err
	}
	defer admin.Close(ctx)
	r.databases++
	name := fmt.Sprintf("round%d", r.databases)
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return s, err
	}
	db, err := pg.Open(strings.Replace(r.pg.SuperuserURL(), "/tidemark?", "/"+name+"?", 1))
	if err != nil {
		return s, err
	}
	if err = db.Migrate(ctx, r.log); err == nil {
		var streams *feeds.Streams
		if streams, err = feeds.NewStreams(r.nc, natsio.NewSubjects(""), true, r.log); err == nil {
			s, err = r.foldNotified(ctx, db, streams, head)
		}
	}
	db.Close()
	if _, derr := admin.Exec(ctx, "DROP DATABASE "+name); err == nil {
		err = derr
	}
	return s, err
}

// rawFold is the yardstick of a view in SQL: an ordered replay and one upsert per
// 500 rows.
func rawFold(ctx context.Context, js jetstream.JetStream, pool *pgxpool.Pool, n int) (s side, err error) {
	const rows = 500
	if _, err := pool.Exec(ctx, `DROP TABLE IF EXISTS bench.raw`); err != nil {
		return s, err
	}
	if _, err := pool.Exec(ctx, `CREATE TABLE bench.raw (agent text, key text, value jsonb, revision bigint, PRIMARY KEY (agent, key))`); err != nil {
		return s, err
	}
	var agents, keys, values []string
	var revisions []int64
	flush := func() error {
		_, err := pool.Exec(ctx, `INSERT INTO bench.raw SELECT a, k, v::jsonb, r
			FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS b (a, k, v, r)
			ON CONFLICT (agent, key) DO UPDATE SET value = excluded.value, revision = excluded.revision`,
			agents, keys, values, revisions)
		agents, keys, values, revisions = agents[:0], keys[:0], values[:0], revisions[:0]
		return err
	}
	began := time.Now()
	err = rawReplay(ctx, js, rawStream, n, func(msg jetstream.Msg, i int) error {
		agent, key, _ := strings.Cut(strings.TrimPrefix(msg.Subject(), rawSubject), ".")
		agents, keys, values = append(agents, agent), append(keys, key), append(values, string(msg.Data()))
		revisions = append(revisions, int64(i))
		if len(keys) == rows {
			return flush()
		}
		return nil
	})
	if err == nil && len(keys) > 0 {
		err = flush()
	}
	s.value = float64(n) / time.Since(began).Seconds()
	return s, err
}

// rawReplay reads the first n messages of a stream in order, without a filter.
func rawReplay(ctx context.Context, js jetstream.JetStream, stream string, n int, take func(msg jetstream.Msg, i int) error) error {
	c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	it, err := c.Messages(jetstream.PullMaxMessages(2000), jetstream.PullThresholdMessages(1500), jetstream.PullHeartbeat(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer it.Stop()
	for i := range n {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("replay %s, message %d: %w", stream, i+1, err)
		}
		if err := take(msg, i+1); err != nil {
			return err
		}
	}
	return nil
}

// openKV compares the hot view into a new bucket with plain publishes into another.
func openKV(ctx context.Context, b *bench) (player, error) {
	b.stop()
	r, err := newRig(ctx, false)
	if err != nil {
		return nil, err
	}
	head, err := r.fill(ctx, b.size.stored, distinct)
	if err == nil {
		err = fillRaw(ctx, r.js, b.size.stored, distinct)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return funcPlayer{cleanup: r.close, play: func(ctx context.Context, n int) (round, error) {
		return alternate(n,
			func() (s side, err error) {
				bucket, err := r.bucket(ctx, hot.AgentStateBucket.Name)
				if err != nil {
					return s, err
				}
				p := projections.NewProgress(1)
				return r.fold(ctx, hot.NewHot(bucket, r.journal, p), p, head, projections.Batching{Busy: 2 * time.Millisecond, Max: 2000})
			},
			func() (s side, err error) {
				const name = "BENCH"
				if _, err = r.bucket(ctx, name); err != nil {
					return s, err
				}
				began := time.Now()
				if err = rawReplay(ctx, r.js, rawStream, b.size.stored, func(jetstream.Msg, int) error { return nil }); err != nil {
					return s, err
				}
				for i := range b.size.stored {
					agent, key := distinct(i)
					if _, err = r.js.PublishAsync("$KV."+name+"."+agent+"."+key, value(nil, i), stallWait); err != nil {
						return s, err
					}
				}
				err = allStored(ctx, r.js)
				s.value = float64(b.size.stored) / time.Since(began).Seconds()
				return s, err
			})
	}}, nil
}

// bucket creates an empty bucket with the configuration of AGENT_STATE.
func (r *rig) bucket(ctx context.Context, name string) (*hot.Bucket, error) {
	if err := r.js.DeleteKeyValue(ctx, name); err != nil && !missing(err) {
		return nil, err
	}
	cfg := hot.AgentStateBucket
	cfg.Name, cfg.Embedded = name, true
	return hot.OpenBucket(ctx, r.nc, cfg, r.log)
}
