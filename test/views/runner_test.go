package views_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// busy writes sets, deletions and losing writes on a few agents.
func (w *world) busy(n int) {
	w.t.Helper()
	for i := range n {
		agent, key := fmt.Sprint("a", i%5), fmt.Sprint("k", i%7)
		switch i % 6 {
		case 3:
			if _, err := w.send(agent, "set", fmt.Sprintf(`{"key":%q,"value":0,"expected_version":99999}`, key)); err == nil {
				w.t.Fatal("a version that nothing has is expected, and is not refused")
			}
		case 5:
			w.set(agent, key, "1")
			w.del(agent, key)
		default:
			w.set(agent, key, fmt.Sprintf(`{ "n":%d.50 }`, i))
		}
	}
}

func TestViewsGoOnWhereTheyStopped(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		w := newWorld(t, partitions)
		for range 3 {
			var runners []*runner
			for _, view := range []string{"hot", "durable"} {
				for p := range partitions {
					runners = append(runners, w.run(view, p, nil))
				}
			}
			w.busy(60)
			w.caughtUp("hot", "durable")
			w.rows("hot")
			w.rows("durable")
			for _, r := range runners {
				r.stop()
			}
			w.busy(30)
			w.Close()
			w.open(0) // another process
		}
		w.start("hot", "durable")
		w.caughtUp("hot", "durable")
		w.rows("hot")
		w.rows("durable")
		if n := w.count("SELECT count(*) FROM agents.conflicts"); n == 0 || n != w.count("SELECT count(DISTINCT (agent_id, state_key, revision)) FROM agents.conflicts") {
			t.Errorf("%d losing writes, some of them twice or none", n)
		}
	}
}

// TestARestartDoesNotFoldEverythingAgain: a restart applies only the events
// since its checkpoint.
func TestARestartDoesNotFoldEverythingAgain(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run("durable", 0, nil)
	w.busy(40)
	w.caughtUp("durable")
	r.stop()
	before := w.progress["durable"].At(0)
	w.open(0)
	var mu sync.Mutex
	applied := 0
	w.applied = func(events int, _ time.Duration) { mu.Lock(); applied += events; mu.Unlock() }
	r = w.run("durable", 0, nil)
	w.busy(12)
	w.caughtUp("durable")
	r.stop()
	if since := w.progress["durable"].At(0) - before; applied != int(since) {
		t.Errorf("%d events applied, %d came since", applied, since)
	}
}

func TestACheckpointMovedBackByHandIsNoticed(t *testing.T) {
	w := newWorld(t, 1)
	w.run("durable", 0, nil)
	w.busy(20)
	w.caughtUp("durable")
	w.exec("DELETE FROM agents.state")
	w.exec("UPDATE agents.checkpoints SET position = 0")
	w.busy(3)
	harness.Eventually(t, "the view is folded again", func() bool {
		head, err := w.journal.Head(t.Context(), 0)
		return err == nil && w.count("SELECT position FROM agents.checkpoints") == int(head)
	})
	w.rows("durable")
}

// TestATruncatedTableIsFoldedAgain: also of an idle view.
func TestATruncatedTableIsFoldedAgain(t *testing.T) {
	w := newWorld(t, 1)
	w.run("durable", 0, nil)
	w.busy(20)
	w.caughtUp("durable")
	w.exec("TRUNCATE agents.state")
	harness.Eventually(t, "the view is folded again", func() bool {
		head, err := w.journal.Head(t.Context(), 0)
		return err == nil && w.count("SELECT coalesce(max(position), 0) FROM agents.checkpoints") == int(head)
	})
	w.rows("durable")
}

func TestACheckpointMovedForwardByHandHalts(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run("durable", 0, nil)
	w.busy(20)
	w.caughtUp("durable")
	w.exec("UPDATE agents.checkpoints SET position = position + 1000")
	w.set("a0", "k0", "1")
	if reason := w.state(r, projections.Halted); !strings.Contains(reason, "the journal ends at") {
		t.Error(reason)
	}
}

func TestAViewOfAnotherJournalHalts(t *testing.T) {
	w := newWorld(t, 1)
	hot, durable := w.run("hot", 0, nil), w.run("durable", 0, nil)
	w.busy(20)
	w.caughtUp("hot", "durable")
	hot.stop()
	durable.stop()
	js := support.JetStream(t, w.nc)
	harness.Must(t, js.DeleteStream(t.Context(), "EVENTS"))
	w.open(1) // creates a new journal
	w.busy(40)
	rows := w.count("SELECT count(*) FROM agents.state")
	for _, view := range []string{"hot", "durable"} {
		if reason := w.state(w.run(view, 0, nil), projections.Halted); !strings.Contains(reason, "another journal") || !strings.Contains(reason, w.journal.ID()) {
			t.Errorf("%s: %s", view, reason)
		}
	}
	if n := w.count("SELECT count(*) FROM agents.state"); n != rows {
		t.Errorf("%d rows, there were %d", n, rows)
	}
}

func TestAJournalWithoutItsBeginningHalts(t *testing.T) {
	w := newWorld(t, 1)
	w.busy(20)
	stream, err := support.JetStream(t, w.nc).Stream(t.Context(), "EVENTS")
	harness.Must(t, err)
	harness.Must(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(10)))
	if reason := w.state(w.run("durable", 0, nil), projections.Halted); !strings.Contains(reason, "1 to 9") {
		t.Error(reason)
	}
	if n := w.count("SELECT count(*) FROM agents.state"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// TestTwoRunnersOfOneView: two engines that run the same view do no harm.
func TestTwoRunnersOfOneView(t *testing.T) {
	for _, view := range []string{"durable", "hot"} {
		w := newWorld(t, 1)
		second := projections.NewProgress(1)
		w.run(view, 0, nil)
		w.run(view, 0, second)
		for range 6 {
			w.busy(30)
		}
		w.caughtUp(view)
		head, err := w.journal.Head(t.Context(), 0)
		harness.Must(t, err)
		if !second.Wait(t.Context(), 0, head) {
			t.Errorf("the second runner of %s is at %d of %d", view, second.At(0), head)
		}
		w.rows(view)
		if view == "durable" {
			losers := w.count("SELECT count(*) FROM agents.conflicts")
			if want := w.count("SELECT count(DISTINCT revision) FROM agents.conflicts"); losers != want || losers != 30 {
				t.Errorf("%d losing writes, %d of them different, 30 were made", losers, want)
			}
		}
	}
}

func TestWithoutSQLTheRestGoesOn(t *testing.T) {
	w := newWorld(t, 1)
	durable := w.run("durable", 0, nil)
	w.run("hot", 0, nil)
	w.busy(10)
	w.caughtUp("hot", "durable")
	w.sql(false)
	w.busy(20)
	w.caughtUp("hot")
	w.state(durable, projections.Waiting)
	if s := durable.Status(w.progress["hot"].At(0), time.Now()); s.LagEvents == 0 {
		t.Errorf("%+v", s)
	}
	w.rows("hot")
	w.sql(true)
	w.caughtUp("durable")
	w.rows("durable")
	w.state(durable, projections.Running)
}

func TestAPoisonEventQuarantinesItsAggregate(t *testing.T) {
	w := newWorld(t, 1)
	w.busy(5)
	w.set("a9", "poison", "1")
	js := support.JetStream(t, w.nc)
	if _, err := js.Publish(t.Context(), support.Intake(t, w.nc, "EVENTS")+"agent.a9.state.poison", []byte("torn")); err != nil {
		t.Fatal(err)
	}
	w.busy(5)
	for _, view := range []string{"hot", "durable"} {
		r := w.run(view, 0, nil)
		w.caughtUp(view)
		if reason := w.state(r, projections.Degraded); !strings.Contains(reason, "agent.a9.state.poison") || !strings.Contains(reason, "decode event") {
			t.Errorf("%s: %s", view, reason)
		}
		r.stop()
		w.run(view, 0, nil) // it stays quarantined
	}
	if _, found := w.row("hot", "a9", "poison"); found {
		t.Error("the bucket shows what was before")
	}
	_, err := w.get("a9", "poison", tiers.Durable, 0, time.Second)
	w.fails("read.behind", err)
	// A miss is answered from the next tier, and must not be cached where no
	// view updates it.
	harness.Must(t, hot.NewHot(w.bucket, w.journal, w.progress["hot"]).Fill(t.Context(), &readmodel.Entry{Agent: "a9", Key: "poison", Value: []byte("1"), Revision: 99}))
	if _, found := w.row("hot", "a9", "poison"); found {
		t.Error("the bucket was filled")
	}
}

// TestQuarantineIsSharedBetweenEngines: the engine that does not run the view
// knows its quarantine, and the other engine executes its requests.
func TestQuarantineIsSharedBetweenEngines(t *testing.T) {
	w := newWorld(t, 2)
	w.exec("ALTER TABLE agents.state ADD CONSTRAINT defect CHECK (state_key <> 'bad') NOT VALID")
	w.start("durable")
	for i := range 8 {
		w.set(fmt.Sprint("a", i), "bad", "1")
		w.set(fmt.Sprint("a", i), "good", "1")
	}
	w.caughtUp("durable")
	other, err := natsquarantine.Open(t.Context(), support.Engine(t, w.server), harness.Log(t))
	harness.Must(t, err)
	all, err := other.All(t.Context())
	if err != nil || len(all) != 8 {
		t.Fatalf("%v, %v", all, err)
	}
	w.exec("ALTER TABLE agents.state DROP CONSTRAINT defect")
	for _, h := range all {
		if h.Waiting != 1 || h.Partition != w.journal.Partition(h.Stream.ID()) || !strings.Contains(h.Reason, "defect") {
			t.Errorf("%+v", h)
		}
		harness.Must(t, other.Request(t.Context(), h, quarantine.RequestRetry))
	}
	for _, h := range all {
		if now, there, err := other.Await(t.Context(), h); there || err != nil {
			t.Errorf("%+v, %t, %v", now, there, err)
		}
	}
	w.rows("durable")
}

// TestARebuildQuarantinesAPoisonEvent: a rebuild takes a view past an event
// that it cannot apply, and quarantines its aggregate as the view does, also
// when the quarantine was lost.
func TestARebuildQuarantinesAPoisonEvent(t *testing.T) {
	w := newWorld(t, 1)
	first := w.run("durable", 0, nil)
	w.set("a9", "poison", "1")
	w.caughtUp("durable")
	first.stop()
	js := support.JetStream(t, w.nc)
	if _, err := js.Publish(t.Context(), support.Intake(t, w.nc, "EVENTS")+"agent.a9.state.poison", []byte("torn")); err != nil {
		t.Fatal(err)
	}
	w.set("a1", "k", "1")
	shadow, err := durable.NewShadow(t.Context(), w.db, "durable", w.journal.ID(), 1, false)
	harness.Must(t, err)
	r := rebuild.Rebuild{View: "durable", Source: w.history, Shadow: shadow, Step: func(rebuild.Step) {}}
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = w.get("a9", "poison", tiers.Durable, 0, time.Second)
		w.fails("read.behind", err)
		second := w.run("durable", 0, nil)
		w.caughtUp("durable")
		if reason := w.state(second, projections.Degraded); !strings.Contains(reason, "agent.a9.state.poison since revision 2") {
			t.Error(reason)
		}
		second.stop()
		harness.Must(t, js.DeleteKeyValue(t.Context(), natsquarantine.BucketName))
		w.open(0) // another process
	}
}
