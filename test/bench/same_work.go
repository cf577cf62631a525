package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
)

// sameWork is the yardstick of a rate of commands: raw clients of the same servers do each
// part of what the wire contract and the topology ask of one state write, one part after
// the other. Its rate is that of doing all parts in turn, 1 / Σ(1/rate).
func sameWork(ctx context.Context, e *engine, clients int, lasts time.Duration) (s side, note string, err error) {
	pool, err := rawPool(ctx, e, sameWorkTables...)
	if err != nil {
		return s, "", err
	}
	defer pool.Close()
	lasts /= 7
	var total float64
	var notes []string
	for _, part := range []struct {
		name string
		rate func() (side, error)
	}{
		{"request and reply", func() (side, error) { return coreRequests(ctx, e, clients, lasts) }},
		{"journal", func() (side, error) { return rawAsync(ctx, e, lasts) }},
		{"bucket", func() (side, error) { return rawPuts(ctx, e, lasts) }},
		{"feed", func() (side, error) { return rawFeed(ctx, e, lasts) }},
		{"change notification", func() (side, error) { return rawFeed(ctx, e, lasts) }},
		{"row", func() (side, error) { return rawRows(ctx, pool, lasts, upsertRows) }},
		{"archive", func() (side, error) { return rawRows(ctx, pool, lasts, insertEvents) }},
	} {
		got, err := part.rate()
		if err != nil {
			return s, "", fmt.Errorf("%s: %w", part.name, err)
		}
		total += 1 / got.value
		notes = append(notes, part.name+" "+number(1e6/got.value))
	}
	s.value = 1 / total
	return s, "the same work in µs: " + strings.Join(notes, ", "), nil
}

// rawPuts measures puts to a bucket that is configured as AGENT_STATE, with a window of
// outstanding acknowledgements.
func rawPuts(ctx context.Context, e *engine, lasts time.Duration) (s side, err error) {
	return rawStore(ctx, e, lasts, "$KV.BENCH.", func(js jetstream.JetStream) error {
		if err := js.DeleteKeyValue(ctx, "BENCH"); err != nil && !missing(err) {
			return err
		}
		_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "BENCH", History: 3, TTL: 30 * time.Minute})
		return err
	})
}

// rawFeed measures publishes to a stream without compare-and-set, as a feed has them.
func rawFeed(ctx context.Context, e *engine, lasts time.Duration) (s side, err error) {
	return rawStore(ctx, e, lasts, rawSubject, func(js jetstream.JetStream) error {
		_, err := recreateStream(ctx, js.Conn())
		return err
	})
}

// rawStore measures asynchronous publishes to the subjects of as many entries as the
// commands write.
func rawStore(ctx context.Context, e *engine, lasts time.Duration, root string, create func(jetstream.JetStream) error) (s side, err error) {
	nc, err := e.connect()
	if err != nil {
		return s, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(rawWindow))
	if err != nil {
		return s, err
	}
	if err := create(js); err != nil {
		return s, err
	}
	began, n := time.Now(), 0
	for ; time.Since(began) < lasts; n++ {
		if _, err := js.PublishAsync(root+"a."+strconv.Itoa(n%entries), value(make([]byte, 0, valueSize), n), stallWait); err != nil {
			return s, err
		}
	}
	err = allStored(ctx, js)
	s.value = float64(n) / time.Since(began).Seconds()
	return s, err
}

var sameWorkTables = []string{
	`CREATE TABLE IF NOT EXISTS bench.entries (agent text, key text, value jsonb, revision bigint, PRIMARY KEY (agent, key))`,
	`CREATE TABLE IF NOT EXISTS bench.events (revision bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text, key text, command_id text, digest text, body text)`,
}

// The statements of a part that Postgres does, of 500 rows each.
const (
	upsertRows = `INSERT INTO bench.entries SELECT k, k, v::jsonb, 1 FROM unnest($1::text[], $2::text[]) AS b (k, v)
		ON CONFLICT (agent, key) DO UPDATE SET value = excluded.value, revision = excluded.revision`
	insertEvents = `INSERT INTO bench.events (id, key, command_id, digest, body) SELECT k, k, k, k, v FROM unnest($1::text[], $2::text[]) AS b (k, v)`
)

// rawRows measures the rows of a statement that takes 500 of them.
func rawRows(ctx context.Context, pool *pgxpool.Pool, lasts time.Duration, statement string) (s side, err error) {
	const rows = 500
	keys, values := make([]string, rows), make([]string, rows)
	began, n := time.Now(), 0
	for time.Since(began) < lasts {
		for i := range rows {
			keys[i], values[i] = strconv.Itoa(n%entries), string(value(nil, n))
			n++
		}
		if _, err := pool.Exec(ctx, statement, keys, values); err != nil {
			return s, err
		}
	}
	s.value = float64(n) / time.Since(began).Seconds()
	return s, nil
}
