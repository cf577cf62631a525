package feeds_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// place is a view's position, of the journal's only partition: the checkpoint
// of notifications, and the whole of a view in front of them.
type place struct {
	mu     sync.Mutex
	at     uint64
	broken error // of the next Save
}

func (p *place) Load(context.Context, int, string) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, nil
}

func (p *place) Save(_ context.Context, _ int, from, to uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.broken; err != nil {
		return err
	}
	if p.at != from {
		return projections.ErrFenced
	}
	p.at = to
	return nil
}

func (p *place) Apply(ctx context.Context, partition int, from, to uint64, _ projections.Changes) error {
	return p.Save(ctx, partition, from, to)
}

// stage is a journal, a view named durable in front, and what notifications
// need.
type stage struct {
	t       *testing.T
	nc      *nats.Conn
	journal *journal.Journal
	streams *feeds.Streams
	out     *nats.Conn // where the streams are
	place   *place     // of the notifications
	front   *place
	last    map[string]events.Record
	history *history.History // nil = the journal's
}

func newStage(t *testing.T) *stage {
	nc := support.Engine(t, support.NATS(t))
	x := &stage{t: t, nc: nc, journal: openOn(t, nc), place: &place{}, front: &place{}, last: map[string]events.Record{}}
	x.publishOn(nc)
	return x
}

func (x *stage) publishOn(nc *nats.Conn) {
	x.t.Helper()
	s, err := feeds.NewStreams(nc, natsio.NewSubjects(""), true, harness.Log(x.t))
	if err != nil {
		x.t.Fatal(err)
	}
	x.streams, x.out = s, nc
}

// write appends the next event of a key of the agent a; an empty value deletes.
func (x *stage) write(key, value string) uint64 {
	x.t.Helper()
	s := events.StateEntry("a", key)
	ev := events.Event{Type: events.StateSet, Aggregate: "agent", ID: "a", Key: key, Version: x.last[key].Version + 1,
		Digest: "d", Schema: events.Schema, Data: []byte(`{"value":` + value + `}`)}
	if value == "" {
		ev.Type, ev.Data = events.StateDeleted, []byte(`{}`)
	}
	at, err := x.journal.Append(x.t.Context(), history.Writes(s, x.last[key].Revision, fmt.Sprint(key, ev.Version), []events.Event{ev}))
	if err != nil {
		x.t.Fatal(err)
	}
	x.last[key] = events.Record{Event: ev, Revision: at.Revision}
	return at.Revision
}

func (x *stage) quarantine() *natsquarantine.Store {
	x.t.Helper()
	q, err := natsquarantine.Open(x.t.Context(), x.nc, harness.Log(x.t))
	if err != nil {
		x.t.Fatal(err)
	}
	return q
}

// run runs both views as a process that has just begun, over a quarantine that
// it has not read, until stop.
func (x *stage) run(q quarantine.Store) (behind *projections.Runner, stop func()) {
	h := history.New(x.journal, nil, 0)
	if x.history != nil {
		h = x.history
	}
	n := feeds.NewNotifications(x.streams, h, x.place)
	gate := projections.NewGate("durable", 1, n)
	front := &projections.Runner{View: "durable", Source: h.Retained(), Target: x.front, Progress: projections.NewProgress(1),
		Batching: projections.Batching{Max: 100}, Log: harness.Log(x.t), Quarantine: q, Past: h.Of, Leads: gate}
	behind = &projections.Runner{View: "notifications", Source: h.Retained(), Target: n, Progress: projections.NewProgress(1),
		Batching: projections.Batching{Max: 100}, Log: harness.Log(x.t), Quarantine: q, Past: h.Of, Follows: gate}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { front.Run(ctx) })
	running.Go(func() { behind.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	x.t.Cleanup(stop)
	return behind, stop
}

// until runs the views until the notifications have reached a revision.
func (x *stage) until(q quarantine.Store, revision uint64) {
	x.t.Helper()
	behind, stop := x.run(q)
	reach(x.t, behind, revision)
	stop()
}

func reach(t *testing.T, r *projections.Runner, revision uint64) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("the notifications reach %d", revision), func() bool { return r.Progress.At(0) >= revision })
}

// published are the notifications in the stream, in order.
func (x *stage) published() (all []string) {
	x.t.Helper()
	s, err := support.JetStream(x.t, x.out).Stream(x.t.Context(), "AGENT_STATE")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		x.t.Fatal(err)
	}
	for seq := s.CachedInfo().State.FirstSeq; seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(x.t.Context(), seq)
		if err != nil {
			x.t.Fatal(err)
		}
		var b struct {
			Operation string `json:"operation"`
			Key       string `json:"state_key"`
			Old       any    `json:"old_value"`
			New       any    `json:"new_value"`
			Revision  int    `json:"revision"`
		}
		if err := json.Unmarshal(m.Data, &b); err != nil || m.Subject != "agents.state.a" {
			x.t.Errorf("%s: %s %v", m.Subject, m.Data, err)
		}
		if id, want := m.Header.Get(nats.MsgIdHdr), fmt.Sprintf("sql-%s-0-%d", x.journal.Incarnation(), b.Revision); id != want {
			x.t.Errorf("message id %s, want %s", id, want)
		}
		all = append(all, fmt.Sprintf("%s %s %v -> %v (%d)", b.Operation, b.Key, b.Old, b.New, b.Revision))
	}
	return all
}

func (x *stage) want(want ...string) {
	x.t.Helper()
	if got := x.published(); !slices.Equal(got, want) {
		x.t.Errorf("published\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// unasked is not asked for the last event of an aggregate up to a revision, which
// takes long.
type unasked struct {
	history.JournalStore
	t *testing.T
}

func (j unasked) Ends(ctx context.Context, names []events.Stream, b history.Bound, f history.Freshness) ([]history.Message, error) {
	if b.Revision > 0 {
		j.t.Errorf("asked for %v", names)
	}
	return j.JournalStore.Ends(ctx, names, b, f)
}

// Each change has the value before it, from memory as from the journal.
func TestNotificationsHaveOldAndNewValue(t *testing.T) {
	for _, restart := range []bool{false, true} {
		x := newStage(t)
		x.history = history.New(unasked{x.journal, t}, nil, 0)
		behind, stop := x.run(x.quarantine())
		for _, w := range [][2]string{{"k", "1"}, {"k", "2"}, {"l", `"x"`}, {"k", ""}, {"k", "3"}, {"l", `"x"`}} {
			if restart {
				stop()
				behind, stop = x.run(x.quarantine())
			}
			reach(t, behind, x.write(w[0], w[1]))
		}
		x.want("INSERT k <nil> -> 1 (1)", "UPDATE k 1 -> 2 (2)", "INSERT l <nil> -> x (3)",
			"DELETE k 2 -> <nil> (4)", "INSERT k <nil> -> 3 (5)", "UPDATE l x -> x (6)")
	}
}

// Of a batch each key is published once, from the value before it to the one
// after; not at all if it was created and deleted in it.
func TestABatchIsOneChangeOfEachKey(t *testing.T) {
	x := newStage(t)
	x.write("k", "1")
	x.until(x.quarantine(), x.write("l", "1"))
	var batch []history.Message
	for _, w := range [][2]string{{"k", "2"}, {"gone", "1"}, {"l", "2"}, {"gone", ""}, {"l", ""}, {"k", "3"}} {
		at := x.write(w[0], w[1])
		m := history.Message{Record: x.last[w[0]]}
		m.Stream, m.Revision = events.StateEntry("a", w[0]), at
		batch = append(batch, m)
	}
	n := feeds.NewNotifications(x.streams, history.New(x.journal, nil, 0), x.place)
	if err := n.Apply(t.Context(), 0, 2, 8, n.Fold(batch)); err != nil {
		t.Fatal(err)
	}
	x.want("INSERT k <nil> -> 1 (1)", "INSERT l <nil> -> 1 (2)", "UPDATE k 1 -> 3 (8)", "DELETE l 1 -> <nil> (7)")
}

// A crash after the publication and before the position repeats the batch, and
// the stream drops the repetition. Without its window it is published again.
func TestACrashBeforeThePositionRepeatsNothing(t *testing.T) {
	x := newStage(t)
	x.write("k", "1")
	x.write("l", "1")
	x.place.broken = errors.New("the power went off")
	_, stop := x.run(x.quarantine())
	harness.Eventually(t, "the first is published", func() bool { return len(x.published()) > 0 })
	stop()
	x.place.broken = nil
	x.until(x.quarantine(), 2)
	x.want("INSERT k <nil> -> 1 (1)", "INSERT l <nil> -> 1 (2)")
	if err := support.JetStream(t, x.nc).DeleteStream(t.Context(), "AGENT_STATE"); err != nil {
		t.Fatal(err)
	}
	x.place.at = 1
	x.until(x.quarantine(), 2) // makes the stream again
	x.want("INSERT l <nil> -> 1 (2)")
}

// While JetStream does not answer the view in front goes on; then all that was
// missed is published.
func TestNotificationsCatchUpAfterJetStreamWasUnavailable(t *testing.T) {
	x := newStage(t)
	dir := t.TempDir()
	server := support.NATSIn(t, dir)
	at, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(server.URL(), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	x.publishOn(nc)
	behind, _ := x.run(x.quarantine())
	reach(t, behind, x.write("k", "1"))
	server.Stop()
	for i := range 20 {
		x.write(fmt.Sprintf("k%02d", i), "1")
	}
	head := x.write("k", "2")
	harness.Eventually(t, "the view in front reaches the head", func() bool {
		p, err := x.front.Load(t.Context(), 0, "")
		return err == nil && p == head
	})
	if p := behind.Progress.At(0); p != 1 {
		t.Errorf("the notifications are at %d", p)
	}
	again, err := embedded.Start(embedded.Config{Dir: dir, Listen: at.Host, Log: harness.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Stop)
	reach(t, behind, head)
	if got := x.published(); len(got) != 22 || !slices.Contains(got, "UPDATE k 1 -> 2 (22)") {
		t.Errorf("published\n%s", strings.Join(got, "\n"))
	}
}

// A replica that lags is noticed by the version, and only then the leader is
// asked, and only for that key.
func TestALaggingReplicaIsNoticed(t *testing.T) {
	x := newStage(t)
	x.write("k", "1")
	x.write("l", "1")
	x.write("k", "2")
	n := feeds.NewNotifications(x.streams, history.New(&lagging{x.journal, t}, nil, 0), &place{at: 3})
	var batch []history.Message
	for _, key := range []string{"k", "l"} {
		m := history.Message{Record: events.Record{Revision: x.write(key, "3")}}
		m.Event, m.Stream = x.last[key].Event, events.StateEntry("a", key)
		batch = append(batch, m)
	}
	if err := n.Apply(t.Context(), 0, 3, 5, n.Fold(batch)); err != nil {
		t.Fatal(err)
	}
	x.want("UPDATE k 2 -> 3 (4)", "UPDATE l 1 -> 3 (5)")
}

// lagging answers questions about several aggregates from a copy that ends at
// revision 2.
type lagging struct {
	history.JournalStore
	t *testing.T
}

func (j *lagging) Ends(ctx context.Context, names []events.Stream, b history.Bound, f history.Freshness) ([]history.Message, error) {
	if len(names) > 1 {
		b.Revision = min(b.Revision, 2)
	} else if !slices.Equal(names, []events.Stream{events.StateEntry("a", "k")}) {
		j.t.Errorf("the leader was asked for %v", names)
	}
	return j.JournalStore.Ends(ctx, names, b, f)
}

// What the durable view quarantines is not published, over a restart, before it
// is released there; what it drops never is.
func TestNotificationsWithoutWhatIsQuarantined(t *testing.T) {
	x := newStage(t)
	x.write("waits", "1")
	x.write("other", "1")
	first := x.write("waits", "2")
	x.write("free", "1")
	dropped := x.write("dropped", "1")
	x.write("dropped", "2")
	x.write("dropped", "3")
	head := x.write("all", "1")
	hold := func(h quarantine.Held) quarantine.Held {
		t.Helper()
		h.View, h.Reason, h.Waiting = "durable", "no room", 1
		if err := x.quarantine().Put(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	waits := hold(quarantine.Held{Journal: x.journal.ID(), Stream: events.StateEntry("a", "waits"), First: first, Last: first})
	hold(quarantine.Held{Journal: x.journal.ID(), Stream: events.StateEntry("a", "dropped"), First: dropped, Last: dropped + 1, Dropped: true})
	all := hold(quarantine.Held{Journal: x.journal.ID(), Stream: events.StateEntry("a", "all"), First: head, Last: head, Dropped: true})
	hold(quarantine.Held{Journal: "other", Stream: events.StateEntry("a", "free"), First: 1, Last: 9})
	x.front.at = head // it has passed all that, and what it dropped is kept for those behind

	fresh := x.quarantine()
	if known := fresh.Known("durable", 0); len(known) != 0 {
		t.Fatalf("known before it is read: %v", known)
	}
	unread := errors.New("the quarantine does not answer")
	behind, stop := x.run(&unreadable{Store: fresh, err: unread})
	harness.Eventually(t, "the notifications wait", func() bool { return behind.Status(head, time.Now()).State == projections.Waiting })
	stop()
	x.want()

	x.until(x.quarantine(), head)
	changed := map[string]bool{} // the old value of what follows a dropped event depends on where the batch began
	for _, line := range x.published() {
		_, changes, _ := strings.Cut(line, " -> ")
		changed[strings.Fields(line)[1]+" "+changes] = true
	}
	if want := map[string]bool{"free 1 (4)": true, "other 1 (2)": true, "waits 1 (1)": true, "dropped 3 (7)": true}; !maps.Equal(changed, want) {
		t.Fatalf("published %v, want %v", changed, want)
	}

	fresh = x.quarantine()
	behind, stop = x.run(fresh)
	harness.Eventually(t, "it is quarantined", func() bool { return behind.Status(head, time.Now()).Quarantined == 1 })
	following, end := context.WithCancel(t.Context())
	var follow sync.WaitGroup
	follow.Go(func() { fresh.Follow(following) })
	defer follow.Wait()
	defer end()
	if err := fresh.Ask(t.Context(), waits, quarantine.AskRetry); err != nil { // of the durable view
		t.Fatal(err)
	}
	harness.Eventually(t, "it is released", func() bool { return behind.Status(head, time.Now()).State == projections.Running })
	if got := x.published(); len(got) != 5 || got[4] != fmt.Sprintf("UPDATE waits 1 -> 2 (%d)", first) {
		t.Errorf("published\n%s", strings.Join(got, "\n"))
	}
	stop()
	x.until(x.quarantine(), head) // forgets what was dropped
	if now, err := x.quarantine().Held(t.Context(), all.View, 0); err != nil || len(now) != 0 {
		t.Errorf("still kept: %v %v", now, err)
	}
}

// unreadable does not tell what is quarantined.
type unreadable struct {
	quarantine.Store
	err error
}

func (q *unreadable) Held(context.Context, string, int) ([]quarantine.Held, error) { return nil, q.err }
