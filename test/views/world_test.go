// Package views_test holds the read side together on real servers: runners
// that keep KV and SQL level with a journal, and the tiered read over them.
package views_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { support.Main(m) }

// world is an engine's stores, without its views running.
type world struct {
	*commands.Handler
	t        *testing.T
	server   *embedded.Server
	nc       *nats.Conn
	journal  *natsio.Journal
	bucket   *natsio.Bucket
	url      string // of the database
	db       *pg.DB
	progress map[string]*projections.Progress // by view: memory, hot, durable
	memory   *readmodel.Memory
	tiers    *readmodel.Tiers
	held     *natsio.Quarantine
	hits     sync.Map                             // answers by tier
	applied  func(events int, took time.Duration) // told by runners that start from now on
}

func newWorld(t *testing.T, partitions int) *world {
	t.Helper()
	server := support.NATS(t)
	w := &world{t: t, server: server, nc: support.Engine(t, server), url: support.Postgres(t)}
	var err error
	if w.db, err = pg.Open(w.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.db.Close)
	if err := w.db.Migrate(t.Context(), support.Log(t)); err != nil {
		t.Fatal(err)
	}
	w.open(partitions)
	return w
}

// open makes what lives in a process, on the stores as they are.
func (w *world) open(partitions int) {
	w.t.Helper()
	var err error
	if w.journal, err = natsio.OpenJournal(w.t.Context(), w.nc, natsio.JournalConfig{Partitions: partitions}); err != nil {
		w.t.Fatal(err)
	}
	cfg := natsio.AgentStateBucket
	cfg.MaxBytes = 64 << 20
	if w.bucket, err = natsio.OpenBucket(w.t.Context(), w.nc, cfg, support.Log(w.t)); err != nil {
		w.t.Fatal(err)
	}
	if w.held, err = natsio.OpenQuarantine(w.t.Context(), w.nc, support.Log(w.t)); err != nil {
		w.t.Fatal(err)
	}
	following, stop := context.WithCancel(context.Background())
	var follow sync.WaitGroup
	follow.Go(func() { w.held.Follow(following) })
	w.t.Cleanup(func() { stop(); follow.Wait() })
	n := w.journal.Partitions()
	w.progress = map[string]*projections.Progress{}
	for _, view := range []string{"memory", "hot", "durable", "archive"} {
		w.progress[view] = projections.NewProgress(n)
	}
	w.memory = readmodel.NewMemory(readmodel.MemoryConfig{Partitions: n, Tail: w.progress["memory"]})
	memory := w.memory
	w.Handler = commands.NewHandler(w.journal, commands.Config{Observe: func(rec events.Record) {
		if change, err := projections.EntryOf(&rec); err == nil && (rec.Type == events.StateSet || rec.Type == events.StateDeleted) {
			memory.Pass(rec.Partition, change.Entry, change.Deleted)
		}
	}})
	w.t.Cleanup(w.Handler.Close)
	w.tiers = &readmodel.Tiers{
		Memory: w.memory, Hot: natsio.NewHot(w.bucket, w.journal, w.progress["hot"]), HotProgress: w.progress["hot"],
		Durable: pg.NewDurable(w.db, "durable"), DurableProgress: w.progress["durable"], Past: natsio.Past{Journal: w.journal},
		Hit: func(tier string) { w.hits.Store(tier, true) },
	}
}

// target is a view's.
func (w *world) target(view string) projections.Target {
	switch view {
	case "hot":
		return natsio.NewHot(w.bucket, w.journal, w.progress["hot"])
	case "durable":
		return pg.NewDurable(w.db, "durable")
	case "archive":
		return pg.NewArchive(w.db, "archive")
	}
	return &projections.Tail{
		Memory: w.memory, Refresh: w.Refresh, Source: w.journal, Progress: w.progress["memory"],
		Touched: func(string) {}, Changed: func(string, string, []byte) {},
	}
}

// runner is one that runs until stopped, on a progress of its own if asked.
type runner struct {
	*projections.Runner
	stop func()
}

func (w *world) run(view string, partition int, progress *projections.Progress) *runner {
	w.t.Helper()
	target := w.target(view)
	if progress == nil {
		progress = w.progress[view]
	} else if view == "hot" {
		target = natsio.NewHot(w.bucket, w.journal, progress)
	}
	r := &projections.Runner{
		View: view, Partition: partition, Source: w.journal, Target: target, Progress: progress, Log: support.Log(w.t),
		Batching: projections.Batching{Threshold: 50, Interval: 5 * time.Millisecond, Max: 2000}, Applied: w.applied,
	}
	if view != "memory" {
		r.Quarantine, r.Past = w.held, projections.Truth{Journal: w.journal}.Stream
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	stop := func() { cancel(); <-ended }
	w.t.Cleanup(stop)
	return &runner{r, stop}
}

// start runs views in all partitions.
func (w *world) start(views ...string) {
	w.t.Helper()
	for _, view := range views {
		for p := range w.journal.Partitions() {
			w.run(view, p, nil)
		}
	}
}

// level waits until a view has reached the journal's head everywhere.
func (w *world) level(views ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for _, view := range views {
		for p := range w.journal.Partitions() {
			head, err := w.journal.Head(ctx, p)
			if err != nil {
				w.t.Fatal(err)
			}
			if !w.progress[view].Wait(ctx, p, head) {
				w.t.Fatalf("%s is at %d in partition %d, the journal at %d", view, w.progress[view].At(p), p, head)
			}
		}
	}
}

// state waits until a runner says so, and returns its reason.
func (w *world) state(r *runner, state string) string {
	w.t.Helper()
	support.Eventually(w.t, r.View+" "+state, func() bool { return r.Status(0, time.Now()).State == state })
	return r.Status(0, time.Now()).Reason
}

// send carries a command out; set and del are the two there are.
func (w *world) send(agent, verb, body string) (commands.Receipt, error) {
	type answer struct {
		r   commands.Receipt
		err error
	}
	answers := make(chan answer, 1)
	w.Handle(w.t.Context(), commands.Request{Aggregate: "agent", ID: agent, Verb: verb, Body: []byte(body)},
		func(r commands.Receipt, err error) { answers <- answer{r, err} })
	got := <-answers
	return got.r, got.err
}

func (w *world) set(agent, key, value string) commands.Receipt {
	w.t.Helper()
	r, err := w.send(agent, "set", fmt.Sprintf(`{"key":%q,"value":%s,"strategy":"last_write_wins"}`, key, value))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) del(agent, key string) commands.Receipt {
	w.t.Helper()
	r, err := w.send(agent, "delete", fmt.Sprintf(`{"key":%q,"strategy":"last_write_wins"}`, key))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// rows compares what a tier has with the fold of the journal: each living entry
// as the journal says it, and nothing else.
func (w *world) rows(view string) {
	w.t.Helper()
	want := map[string]readmodel.Entry{}
	for p := range w.journal.Partitions() {
		head, err := w.journal.Head(w.t.Context(), p)
		if err != nil {
			w.t.Fatal(err)
		}
		for r := uint64(1); r <= head; r++ {
			rec, err := w.journal.At(w.t.Context(), p, r)
			if err != nil || rec.Type != events.StateSet && rec.Type != events.StateDeleted {
				continue
			}
			change, err := projections.EntryOf(&rec)
			if err != nil {
				w.t.Fatal(err)
			}
			if want[change.Agent+" "+change.Key] = change.Entry; change.Deleted {
				want[change.Agent+" "+change.Key] = readmodel.Entry{}
			}
		}
	}
	living := 0
	for name, e := range want {
		agent, key, _ := strings.Cut(name, " ")
		got, found := w.row(view, agent, key)
		if found != (e.Revision > 0) || got.Revision != e.Revision && found || string(got.Value) != string(e.Value) && found {
			w.t.Errorf("%s has %s at %d, %t; the journal %d", view, name, got.Revision, found, e.Revision)
		}
		if e.Revision > 0 {
			living++
		}
	}
	if view == "durable" {
		if n := w.count("SELECT count(*) FROM agents.state"); n != living {
			w.t.Errorf("%d rows, %d entries", n, living)
		}
	}
}

func (w *world) row(view, agent, key string) (readmodel.Entry, bool) {
	w.t.Helper()
	var e readmodel.Entry
	var found bool
	var err error
	if view == "hot" {
		e, found, err = w.bucket.Get(w.t.Context(), agent, key)
	} else {
		e, found, _, err = pg.NewDurable(w.db, "durable").Entry(w.t.Context(), w.journal.Partition(agent), agent, key)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return e, found
}

func (w *world) count(sql string) (n int) {
	w.t.Helper()
	if err := w.db.Pool().QueryRow(w.t.Context(), sql).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) exec(sql string) {
	w.t.Helper()
	if _, err := w.db.Pool().Exec(w.t.Context(), sql); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// sql lets the database be reached, or not.
func (w *world) sql(up bool) {
	w.t.Helper()
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	conn, err := pgx.Connect(w.t.Context(), u.String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context())
	for _, q := range []string{
		fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, up),
		fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s' AND NOT %t", name, up),
	} {
		if _, err := conn.Exec(w.t.Context(), q); err != nil {
			w.t.Fatalf("%s: %v", q, err)
		}
	}
}

// get reads with a deadline of its own.
func (w *world) get(agent, key string, c readmodel.Consistency, after uint64, wait time.Duration) (readmodel.Answer, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), wait)
	defer cancel()
	return w.tiers.Get(ctx, agent, key, c, after)
}

// from reads and expects a tier and a value.
func (w *world) from(tier, agent, key string, c readmodel.Consistency, after uint64, value string) {
	w.t.Helper()
	a, err := w.get(agent, key, c, after, 20*time.Second)
	if err != nil || a.Source != tier || string(a.Value) != value || a.AsOf < after {
		w.t.Errorf("%s after %d: %s from %q as of %d, %v; want %s from %q", c, after, a.Value, a.Source, a.AsOf, err, value, tier)
	}
	if _, told := w.hits.Load(tier); err == nil && !told {
		w.t.Errorf("nobody was told of an answer from %s", tier)
	}
}

// fails expects an error by code.
func (w *world) fails(code string, err error) {
	w.t.Helper()
	var known *domain.Error
	if !errors.As(err, &known) || known.Code != code {
		w.t.Errorf("%s expected, got %v", code, err)
	}
}

// wait lets time pass until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func purgeSubject(agent, key int) jetstream.StreamPurgeOpt {
	return jetstream.WithPurgeSubject(fmt.Sprintf("$KV.AGENT_STATE.a%d.k%d", agent, key))
}
