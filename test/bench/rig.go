package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg/local"
)

// rig is a NATS server with a journal, optionally with PostgreSQL, in this process.
type rig struct {
	dir       string
	server    *embedded.Server
	nc        *nats.Conn // with the engine's permissions
	js        jetstream.JetStream
	journal   *journal.Journal
	pg        *local.Server // nil = without SQL
	log       *slog.Logger
	databases int    // databases created
	floor     []byte // heap ballast, as in the engine's process
}

func newRig(ctx context.Context, sql bool) (r *rig, err error) {
	r = &rig{floor: make([]byte, 0, embedded.HeapFloor), log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.dir, err = tempDir(); err != nil {
		return r, err
	}
	if r.server, err = embedded.Start(embedded.Config{
		Dir: r.dir, Listen: "127.0.0.1:0", Private: []string{"events.", natsio.IntakeRoot}, Log: r.log,
	}); err != nil {
		return r, err
	}
	if r.nc, err = nats.Connect(r.server.URL(), r.server.Options()...); err != nil {
		return r, err
	}
	if r.js, err = jetstream.New(r.nc, jetstream.WithPublishAsyncMaxPending(4096)); err != nil {
		return r, err
	}
	if r.journal, err = journal.Open(ctx, r.nc, journal.Config{}); err != nil {
		return r, err
	}
	if sql {
		r.pg, err = local.Start(ctx, local.Config{Dir: filepath.Join(r.dir, "postgres"), Log: r.log})
	}
	return r, err
}

func (r *rig) close() {
	if r.pg != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		_ = r.pg.Stop(ctx)
		cancel()
	}
	if r.nc != nil {
		r.nc.Close()
	}
	if r.server != nil {
		r.server.Stop()
	}
	_ = os.RemoveAll(r.dir)
}

// entryFunc returns the entry that the i-th event writes.
type entryFunc func(i int) (agent, key string)

// stallWait raises the time that a publisher waits for outstanding acks; the
// client's default of 200 ms is too short on a busy machine.
var stallWait = jetstream.WithStallWait(30 * time.Second)

// distinct writes every entry once.
func distinct(i int) (string, string) {
	return "a" + strconv.Itoa(i%1000), "k" + strconv.Itoa(i/1000)
}

// hotKey writes a thousand entries a hundred times in turn, then the next thousand.
func hotKey(i int) (string, string) {
	return "a" + strconv.Itoa(i%1000), "k" + strconv.Itoa(i/100_000)
}

// fill appends n events as commands would, and returns the journal's head.
func (r *rig) fill(ctx context.Context, n int, where entryFunc) (uint64, error) {
	s, err := r.js.Stream(ctx, natsio.StreamName(0, 1))
	if err != nil {
		return 0, err
	}
	intake := strings.TrimSuffix(s.CachedInfo().Config.Subjects[0], ">")
	type end struct {
		version uint64
		digest  string
	}
	ends := map[events.AggregateName]end{}
	for i := range n {
		agent, key := where(i)
		stream := events.StateEntry(agent, key)
		last, now := ends[stream], time.Now().UTC()
		write := events.StateWrite{Value: value(nil, i), Strategy: "timestamp", Request: "0123456789abcdef0123456789abcdef"}
		ev := events.Event{
			Type: events.StateSet, Aggregate: "agent", ID: agent, Key: key, Version: last.version + 1,
			Timestamp: now, RecordedAt: now, CommandID: ulid.Make().String(), Data: write.Encode(), Schema: events.Schema,
		}
		if ev.Digest, err = events.Chain(last.digest, &ev); err != nil {
			return 0, err
		}
		ends[stream] = end{ev.Version, ev.Digest}
		if _, err := r.js.PublishAsync(intake+string(stream), ev.Encode(), stallWait); err != nil {
			return 0, err
		}
	}
	if err := allStored(ctx, r.js); err != nil {
		return 0, err
	}
	return r.journal.Head(ctx, 0)
}

// fillRaw creates the raw stream with the bare values on as many subjects.
func fillRaw(ctx context.Context, js jetstream.JetStream, n int, where entryFunc) error {
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: rawStream, Subjects: []string{rawSubject + ">"}, Storage: jetstream.FileStorage, AllowDirect: true,
	}); err != nil {
		return err
	}
	for i := range n {
		agent, key := where(i)
		if _, err := js.PublishAsync(rawSubject+agent+"."+key, value(nil, i), stallWait); err != nil {
			return err
		}
	}
	return allStored(ctx, js)
}

func allStored(ctx context.Context, js jetstream.JetStream) error {
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("%d publishes are not acknowledged", js.PublishAsyncPending())
	case <-ctx.Done():
		return ctx.Err()
	}
}
