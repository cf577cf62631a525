// Package views_test tests the read side on NATS and PostgreSQL: runners that
// apply the journal to KV and SQL, and the tiered reads over them.
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
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// world is the stores of an engine; a test starts the views.
type world struct {
	*commands.Handler
	t          *testing.T
	server     *embedded.Server
	nc         *nats.Conn
	journal    *journal.Journal
	history    *history.History
	bucket     *hot.Bucket
	url        string // of the database
	db         *pg.DB
	progress   map[string]*projections.Progress // by view: memory, hot, durable
	memory     *tiers.Memory
	tiers      *tiers.Tiers
	quarantine *natsquarantine.Store
	hits       sync.Map                             // answers by tier
	applied    func(events int, took time.Duration) // called by runners that start from now on
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
	harness.Must(t, w.db.Migrate(t.Context(), harness.Log(t)))
	w.open(partitions)
	return w
}

// open creates the parts of an engine process over the existing stores.
func (w *world) open(partitions int) {
	w.t.Helper()
	var err error
	if w.journal, err = journal.Open(w.t.Context(), w.nc, journal.Config{Partitions: partitions}); err != nil {
		w.t.Fatal(err)
	}
	w.history = history.New(w.journal, nil, 0)
	cfg := hot.AgentStateBucket
	cfg.MaxBytes = 64 << 20
	if w.bucket, err = hot.OpenBucket(w.t.Context(), w.nc, cfg, harness.Log(w.t)); err != nil {
		w.t.Fatal(err)
	}
	if w.quarantine, err = natsquarantine.Open(w.t.Context(), w.nc, harness.Log(w.t)); err != nil {
		w.t.Fatal(err)
	}
	following, stop := context.WithCancel(context.Background())
	var follow sync.WaitGroup
	follow.Go(func() { w.quarantine.Follow(following) })
	w.t.Cleanup(func() { stop(); follow.Wait() })
	n := w.journal.Partitions()
	w.progress = map[string]*projections.Progress{}
	for _, view := range []string{"memory", "hot", "durable", "archive"} {
		w.progress[view] = projections.NewProgress(n)
	}
	w.memory = tiers.NewMemory(tiers.MemoryConfig{Partitions: n, Tail: w.progress["memory"]})
	memory := w.memory
	w.Handler = commands.NewHandler(w.history, commands.Config{Observe: func(rec events.Record) {
		if change, err := readmodel.EntryOf(&rec); err == nil && (rec.Type == events.StateSet || rec.Type == events.StateDeleted) {
			memory.Apply(rec.Partition, change.Entry, change.Deleted)
		}
	}})
	w.t.Cleanup(w.Handler.Close)
	w.tiers = &tiers.Tiers{
		Memory: w.memory, Hot: hot.NewHot(w.bucket, w.journal, w.progress["hot"]), HotProgress: w.progress["hot"],
		Durable: durable.New(w.db, "durable"), DurableProgress: w.progress["durable"], Journal: query.Rows{History: w.history},
		Hit: func(tier string) { w.hits.Store(tier, true) },
	}
}

// target returns the target of a view.
func (w *world) target(view string) projections.Target {
	switch view {
	case "hot":
		return hot.NewHot(w.bucket, w.journal, w.progress["hot"])
	case "durable":
		return durable.New(w.db, "durable")
	case "archive":
		return archive.New(w.db, "archive")
	}
	return &projections.Tail{
		Memory: w.memory, Refresh: w.Refresh, Source: w.history.Retained(), Progress: w.progress["memory"],
		Forgotten: w.Forget, Touched: func(string, uint64) {}, Changed: func(string, string, []byte, uint64) {},
	}
}

// runner is a projections.Runner that runs until it is stopped, on its own
// progress if asked.
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
		target = hot.NewHot(w.bucket, w.journal, progress)
	}
	r := &projections.Runner{
		View: view, Partition: partition, Source: w.history.Retained(), Target: target, Progress: progress, Log: harness.Log(w.t),
		Batching: projections.Batching{Threshold: 50, Interval: 5 * time.Millisecond, Max: 2000}, Applied: w.applied,
	}
	if view != "memory" {
		r.Quarantine, r.ReadStream = w.quarantine, w.history.Of
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

// caughtUp waits until a view has reached the head of every partition.
func (w *world) caughtUp(views ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for _, view := range views {
		for p := range w.journal.Partitions() {
			head, err := w.journal.Head(ctx, p)
			harness.Must(w.t, err)
			if !w.progress[view].Wait(ctx, p, head) {
				w.t.Fatalf("%s is at %d in partition %d, the journal at %d", view, w.progress[view].At(p), p, head)
			}
		}
	}
}

// state waits until a runner is in a state, and returns the reason.
func (w *world) state(r *runner, state string) string {
	w.t.Helper()
	harness.Eventually(w.t, r.View+" "+state, func() bool { return r.Status(0, time.Now()).State == state })
	return r.Status(0, time.Now()).Reason
}

// send executes a command; set and del use it.
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
	harness.Must(w.t, err)
	return r
}

func (w *world) del(agent, key string) commands.Receipt {
	w.t.Helper()
	r, err := w.send(agent, "delete", fmt.Sprintf(`{"key":%q,"strategy":"last_write_wins"}`, key))
	harness.Must(w.t, err)
	return r
}

// rows compares a tier with the fold of the journal: each living entry, and no
// other.
func (w *world) rows(view string) {
	w.t.Helper()
	want := map[string]readmodel.Entry{}
	for p := range w.journal.Partitions() {
		head, err := w.journal.Head(w.t.Context(), p)
		harness.Must(w.t, err)
		for r := uint64(1); r <= head; r++ {
			rec, err := w.history.At(w.t.Context(), p, r)
			if err != nil || rec.Type != events.StateSet && rec.Type != events.StateDeleted {
				continue
			}
			change, err := readmodel.EntryOf(&rec)
			harness.Must(w.t, err)
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
		e, found, _, err = durable.New(w.db, "durable").Entry(w.t.Context(), w.journal.Partition(agent), agent, key)
	}
	harness.Must(w.t, err)
	return e, found
}

func (w *world) count(sql string) (n int) {
	w.t.Helper()
	harness.Must(w.t, w.db.Pool().QueryRow(w.t.Context(), sql).Scan(&n))
	return n
}

func (w *world) exec(sql string) {
	w.t.Helper()
	harness.Exec(w.t, w.db.Pool(), sql)
}

// sql allows or forbids connections to the database.
func (w *world) sql(up bool) {
	w.t.Helper()
	u, err := url.Parse(w.url)
	harness.Must(w.t, err)
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	conn, err := pgx.Connect(w.t.Context(), u.String())
	harness.Must(w.t, err)
	defer conn.Close(w.t.Context())
	for _, q := range []string{
		fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, up),
		fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s' AND NOT %t", name, up),
	} {
		harness.Exec(w.t, conn, q)
	}
}

// get reads with its own deadline.
func (w *world) get(agent, key string, c tiers.Consistency, after uint64, wait time.Duration) (tiers.Answer, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), wait)
	defer cancel()
	return w.tiers.Get(ctx, agent, key, c, after)
}

// from reads and expects a tier and a value.
func (w *world) from(tier, agent, key string, c tiers.Consistency, after uint64, value string) {
	w.t.Helper()
	a, err := w.get(agent, key, c, after, 20*time.Second)
	if err != nil || a.Source != tier || string(a.Value) != value || a.AsOf < after {
		w.t.Errorf("%s after %d: %s from %q as of %d, %v; want %s from %q", c, after, a.Value, a.Source, a.AsOf, err, value, tier)
	}
	if _, counted := w.hits.Load(tier); err == nil && !counted {
		w.t.Errorf("no answer from %s was counted", tier)
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

func purgeSubject(agent, key int) jetstream.StreamPurgeOpt {
	return jetstream.WithPurgeSubject(fmt.Sprintf("$KV.AGENT_STATE.a%d.k%d", agent, key))
}
