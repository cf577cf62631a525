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

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// unasked is not asked for the last event of an aggregate up to a revision, which
// takes long.
type unasked struct {
	history.JournalStore
	t *testing.T
}

func (j unasked) Ends(ctx context.Context, names []events.AggregateName, b history.Bound, f history.Freshness) ([]history.Message, error) {
	if b.Revision > 0 {
		j.t.Errorf("asked for %v", names)
	}
	return j.JournalStore.Ends(ctx, names, b, f)
}

// Each change has the value before it, from memory as from the journal.
func TestNotificationsHaveOldAndNewValue(t *testing.T) {
	for _, restart := range []bool{false, true} {
		x := newFixture(t)
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

// A batch publishes each key once, with the value before and after the batch, and
// skips a key that the batch creates and deletes.
func TestBatchIsOneChangeOfEachKey(t *testing.T) {
	x := newFixture(t)
	x.write("k", "1")
	x.until(x.quarantine(), x.write("l", "1"))
	var batch []history.Message
	for _, w := range [][2]string{{"k", "2"}, {"gone", "1"}, {"l", "2"}, {"gone", ""}, {"l", ""}, {"k", "3"}} {
		at := x.write(w[0], w[1])
		m := history.Message{Record: x.last[w[0]]}
		m.Name, m.Revision = events.StateEntry("a", w[0]), at
		batch = append(batch, m)
	}
	n := feeds.NewNotifications(x.streams, history.New(x.journal, nil, 0), x.behind)
	if err := n.Apply(t.Context(), 0, 2, 8, n.Fold(batch)); err != nil {
		t.Fatal(err)
	}
	x.want("INSERT k <nil> -> 1 (1)", "INSERT l <nil> -> 1 (2)", "UPDATE k 1 -> 3 (8)", "DELETE l 1 -> <nil> (7)")
}

// An old value in memory is not used after another engine has published.
func TestAnOldValueInMemoryIsOfTheEventBefore(t *testing.T) {
	x := newFixture(t)
	n := feeds.NewNotifications(x.streams, history.New(x.journal, nil, 0), x.behind)
	for i, value := range []string{"1", "2", "3"} {
		at := x.write("k", value)
		if i == 1 { // by another engine
			x.behind.at = at
			continue
		}
		m := history.Message{Record: x.last["k"]}
		m.Name = events.StateEntry("a", "k")
		if err := n.Apply(t.Context(), 0, at-1, at, n.Fold([]history.Message{m})); err != nil {
			t.Fatal(err)
		}
	}
	x.want("INSERT k <nil> -> 1 (1)", "UPDATE k 2 -> 3 (3)")
}

// A crash between the publication and the save of the position repeats the batch,
// and the stream drops the repetition. A new stream gets it again.
func TestCrashBeforePositionRepeatsNothing(t *testing.T) {
	x := newFixture(t)
	x.write("k", "1")
	x.write("l", "1")
	x.behind.saveErr = errors.New("power failure")
	_, stop := x.run(x.quarantine())
	harness.Eventually(t, "the first is published", func() bool { return len(x.published()) > 0 })
	stop()
	x.behind.saveErr = nil
	x.until(x.quarantine(), 2)
	x.want("INSERT k <nil> -> 1 (1)", "INSERT l <nil> -> 1 (2)")
	if err := support.JetStream(t, x.nc).DeleteStream(t.Context(), "AGENT_STATE"); err != nil {
		t.Fatal(err)
	}
	x.behind.at = 1
	x.until(x.quarantine(), 2) // creates the stream again
	x.want("INSERT l <nil> -> 1 (2)")
}

// While JetStream is unavailable, the durable view continues; afterwards all missed
// changes are published.
func TestNotificationsCatchUpAfterJetStreamWasUnavailable(t *testing.T) {
	x := newFixture(t)
	dir := t.TempDir()
	server := support.NATSIn(t, dir)
	at, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	user, seed, err := server.Authority().EngineUser()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(server.URL(), nats.UserJWTAndSeed(user, seed), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
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
	harness.Eventually(t, "the durable view reaches the head", func() bool {
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

// The version reveals the answer of a lagging replica. Only then the leader is
// asked, and only for that key.
func TestLaggingReplicaIsDetected(t *testing.T) {
	x := newFixture(t)
	x.write("k", "1")
	x.write("l", "1")
	x.write("k", "2")
	n := feeds.NewNotifications(x.streams, history.New(&lagging{x.journal, t}, nil, 0), &checkpoint{at: 3})
	var batch []history.Message
	for _, key := range []string{"k", "l"} {
		m := history.Message{Record: events.Record{Revision: x.write(key, "3")}}
		m.Event, m.Name = x.last[key].Event, events.StateEntry("a", key)
		batch = append(batch, m)
	}
	if err := n.Apply(t.Context(), 0, 3, 5, n.Fold(batch)); err != nil {
		t.Fatal(err)
	}
	x.want("UPDATE k 2 -> 3 (4)", "UPDATE l 1 -> 3 (5)")
}

// lagging answers reads of several aggregates like a replica that ends at revision
// 2.
type lagging struct {
	history.JournalStore
	t *testing.T
}

func (j *lagging) Ends(ctx context.Context, names []events.AggregateName, b history.Bound, f history.Freshness) ([]history.Message, error) {
	if len(names) > 1 {
		b.Revision = min(b.Revision, 2)
	} else if !slices.Equal(names, []events.AggregateName{events.StateEntry("a", "k")}) {
		j.t.Errorf("the leader was asked for %v", names)
	}
	return j.JournalStore.Ends(ctx, names, b, f)
}

// Events that the durable view quarantines are not published before the retry
// there succeeds, also after a restart; dropped events are never published.
func TestNotificationsWithoutWhatIsQuarantined(t *testing.T) {
	x := newFixture(t)
	x.write("waits", "1")
	x.write("other", "1")
	first := x.write("waits", "2")
	x.write("free", "1")
	dropped := x.write("dropped", "1")
	x.write("dropped", "2")
	x.write("dropped", "3")
	head := x.write("all", "1")
	put := func(h quarantine.Entry) quarantine.Entry {
		t.Helper()
		h.View, h.Reason, h.Waiting = "durable", "no room", 1
		if err := x.quarantine().Put(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	waits := put(quarantine.Entry{Journal: x.journal.ID(), Stream: events.StateEntry("a", "waits"), First: first, Last: first})
	put(quarantine.Entry{Journal: x.journal.ID(), Stream: events.StateEntry("a", "dropped"), First: dropped, Last: dropped + 1, Dropped: true})
	all := put(quarantine.Entry{Journal: x.journal.ID(), Stream: events.StateEntry("a", "all"), First: head, Last: head, Dropped: true})
	put(quarantine.Entry{Journal: "other", Stream: events.StateEntry("a", "free"), First: 1, Last: 9})
	x.front.at = head // it is caught up; the drops are kept for the views that follow

	fresh := x.quarantine()
	if known := fresh.Cached("durable", 0); len(known) != 0 {
		t.Fatalf("known before the bucket is read: %v", known)
	}
	unread := errors.New("the quarantine does not answer")
	behind, stop := x.run(&unreadable{Store: fresh, err: unread})
	harness.Eventually(t, "the notifications wait", func() bool { return behind.Status(head, time.Now()).State == projections.Waiting })
	stop()
	x.want()

	x.until(x.quarantine(), head)
	changed := map[string]bool{} // the old value after a dropped event depends on the first event of the batch
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
	if err := fresh.Request(t.Context(), waits, quarantine.RequestRetry); err != nil { // of the durable view
		t.Fatal(err)
	}
	harness.Eventually(t, "the retry succeeds", func() bool { return behind.Status(head, time.Now()).State == projections.Running })
	if got := x.published(); len(got) != 5 || got[4] != fmt.Sprintf("UPDATE waits 1 -> 2 (%d)", first) {
		t.Errorf("published\n%s", strings.Join(got, "\n"))
	}
	stop()
	x.until(x.quarantine(), head) // removes the drops
	if now, err := x.quarantine().Entries(t.Context(), all.View, 0); err != nil || len(now) != 0 {
		t.Errorf("still kept: %v %v", now, err)
	}
}

// unreadable is a quarantine store whose Entries fails.
type unreadable struct {
	quarantine.Store
	err error
}

func (q *unreadable) Entries(context.Context, string, int) ([]quarantine.Entry, error) {
	return nil, q.err
}
