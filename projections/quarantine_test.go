package projections_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// unreadable is an event of the journal that cannot be read.
func unreadable(key string, revision uint64) history.Message {
	m := history.Message{Bad: errors.New("torn"), Body: []byte("torn")}
	m.Revision, m.Name = revision, events.StateEntry("a", key)
	return m
}

// entry returns the quarantine entry of a key.
func (x *bench) entry(key string) quarantine.Entry {
	x.held.mu.Lock()
	defer x.held.mu.Unlock()
	return x.held.held[events.StateEntry("a", key)]
}

func TestAPoisonEventQuarantinesOnlyItsAggregate(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.put(event("bad", 1))
		x.source.put(unreadable("bad", 2))
		x.source.put(event("bad", 3))
		x.source.put(event("good", 4))
		x.pass(time.Second)
		x.source.put(event("bad", 5))
		x.source.put(event("good", 6))
		x.pass(time.Second)
		s := x.Status(6, time.Now())
		if s.State != projections.Degraded || s.Quarantined != 1 || !slices.Equal(s.Held, []string{"agent.a.state.bad"}) ||
			!strings.Contains(s.Reason, "agent.a.state.bad since revision 2: torn") || s.Position != 6 {
			t.Errorf("%+v", s)
		}
		if want := map[string]uint64{"bad": 1, "good": 6}; !maps.Equal(x.target.rows, want) {
			t.Errorf("rows %v, want %v", x.target.rows, want)
		}
		if h := x.entry("bad"); h.First != 2 || h.Last != 5 || h.Waiting != 3 || h.Reason != "torn" {
			t.Errorf("%+v", h)
		}
		if want := map[uint64]string{2: "torn", 3: "waits behind revision 2", 5: "waits behind revision 2"}; !maps.Equal(x.target.quarantined, want) {
			t.Errorf("quarantined %v, want %v", x.target.quarantined, want)
		}
	})
}

// The target applies a batch completely or not at all: the refused event is found by halving.
func TestARefusedEventIsFoundInItsBatch(t *testing.T) {
	for culprit := uint64(1); culprit <= 9; culprit++ {
		onBench(t, projections.Batching{Threshold: 9, Interval: time.Second, Max: 9}, func(x *bench) {
			x.target.refuses = func(e *readmodel.EntryChange) bool { return e.Revision == culprit }
			x.settle()
			x.source.send(1, 9)
			x.pass(time.Second)
			if x.target.position != 9 || len(x.target.rows) != 8 || x.Progress.At(0) != 9 {
				t.Errorf("at %d, rows %v", x.target.position, x.target.rows)
			}
			if h := x.entry(fmt.Sprint("k", culprit)); h.First != culprit || h.Waiting != 1 || h.Reason != fmt.Sprintf("no k%d here", culprit) || len(x.held.held) != 1 {
				t.Errorf("%+v", x.held.held)
			}
		})
	}
}

// The view does not pass an event whose quarantine it could not store.
func TestAnUnavailableQuarantineStopsTheView(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.send(1, 3)
		x.pass(time.Second)
		x.held.err = errors.New("the quarantine is unavailable")
		x.source.put(unreadable("bad", 4))
		x.source.put(event("good", 5))
		x.pass(time.Minute)
		if s := x.Status(5, time.Now()); x.target.position != 3 || s.State != projections.Waiting || !strings.Contains(s.Reason, "the quarantine is unavailable") {
			t.Errorf("at %d, %+v", x.target.position, s)
		}
		x.held.mu.Lock()
		x.held.err = nil
		x.held.mu.Unlock()
		x.pass(time.Minute)
		if h := x.entry("bad"); x.target.position != 5 || h.Waiting != 1 || h.First != 4 {
			t.Errorf("at %d, %+v", x.target.position, h)
		}
	})
}

// A crash after the quarantine is stored and before the position advances keeps the quarantine; an
// event that is read again is not counted again.
func TestARestartKeepsTheQuarantine(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		s := events.StateEntry("a", "bad")
		x.held.held[s] = quarantine.Entry{View: "view", Journal: "journal", Stream: s, First: 2, Last: 3, Waiting: 2, Reason: "torn"}
		x.settle()
		x.source.put(event("bad", 1))
		x.source.put(event("bad", 2)) // readable meanwhile, and still quarantined
		x.source.put(event("bad", 3))
		x.source.put(event("bad", 4))
		x.pass(time.Second)
		if h := x.entry("bad"); h.Waiting != 3 || h.Last != 4 || h.First != 2 || x.target.rows["bad"] != 1 {
			t.Errorf("%+v, rows %v", h, x.target.rows)
		}
	})
}

func TestARetryAppliesWaitingEventsOrReportsWhyNot(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.target.refuses = func(e *readmodel.EntryChange) bool { return e.Key == "bad" }
		x.settle()
		x.source.put(event("bad", 1))
		x.source.send(2, 4)
		x.source.put(event("bad", 5))
		x.source.send(6, 7)
		x.source.put(event("bad", 8))
		x.pass(time.Second)
		x.held.ask("bad", quarantine.RequestRetry)
		x.pass(time.Second)
		if h := x.entry("bad"); h.Attempts != 1 || h.First != 1 || h.Waiting != 3 || h.Reason != "no bad here" || len(x.held.asked) != 0 {
			t.Errorf("%+v, asked %v", h, x.held.asked)
		}
		x.target.mu.Lock()
		x.target.refuses = func(e *readmodel.EntryChange) bool { return e.Key == "bad" && e.Revision > 5 }
		x.target.mu.Unlock()
		x.held.ask("bad", quarantine.RequestRetry)
		x.pass(time.Second)
		if h := x.entry("bad"); h.Attempts != 2 || h.First != 8 || h.Waiting != 1 || x.target.rows["bad"] != 5 || len(x.target.quarantined) != 1 {
			t.Errorf("%+v, rows %v, quarantined %v", h, x.target.rows, x.target.quarantined)
		}
		x.target.mu.Lock()
		x.target.refuses = nil
		x.target.mu.Unlock()
		x.held.ask("bad", quarantine.RequestRetry)
		x.pass(time.Second)
		if s := x.Status(8, time.Now()); len(x.held.held) != 0 || x.target.rows["bad"] != 8 || s.State != projections.Running || len(x.target.quarantined) != 0 {
			t.Errorf("%+v, %v, rows %v, quarantined %v", s, x.held.held, x.target.rows, x.target.quarantined)
		}
		x.source.put(event("bad", 9))
		x.pass(time.Second)
		if x.target.rows["bad"] != 9 {
			t.Errorf("rows %v", x.target.rows)
		}
	})
}

// More events wait than one retry batch takes, and a second one cannot be applied.
func TestALongRetryStopsAtTheNextDefect(t *testing.T) {
	onBench(t, projections.Batching{Max: 2000}, func(x *bench) {
		x.settle()
		for r := uint64(1); r <= 900; r++ {
			if r == 1 || r == 700 {
				x.source.put(unreadable("bad", r))
			} else {
				x.source.put(event("bad", r))
			}
		}
		x.pass(time.Second)
		x.source.mu.Lock()
		x.source.log[0] = event("bad", 1) // readable again
		x.source.mu.Unlock()
		x.held.ask("bad", quarantine.RequestRetry)
		x.pass(time.Second)
		if h := x.entry("bad"); h.First != 700 || h.Waiting != 201 || h.Last != 900 || x.target.rows["bad"] != 699 || len(x.target.quarantined) != 201 {
			t.Errorf("%+v, rows %v, %d quarantined", h, x.target.rows, len(x.target.quarantined))
		}
	})
}

// dropBad quarantines the first two events of an aggregate and drops them; another aggregate has
// the third.
func (x *bench) dropBad() {
	x.settle()
	x.source.put(unreadable("bad", 1))
	x.source.put(event("bad", 2))
	x.source.put(event("good", 3))
	x.pass(time.Second)
	x.held.ask("bad", quarantine.RequestDrop)
	x.pass(time.Second)
}

func TestDroppedEventsStayDroppedAndLaterOnesAreApplied(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.dropBad()
		if s := x.Status(3, time.Now()); s.State != projections.Running || s.Quarantined != 0 || len(x.target.quarantined) != 0 || len(x.held.asked) != 0 {
			t.Errorf("%+v, quarantined %v, asked %v", s, x.target.quarantined, x.held.asked)
		}
		// The view's position decreases, as after the loss of its newest rows.
		x.target.mu.Lock()
		x.target.position = 0
		x.target.mu.Unlock()
		x.source.mu.Lock()
		x.source.head = 0 // otherwise a reader that delivers nothing is replaced again and again
		x.source.mu.Unlock()
		close(x.source.out)
		x.pass(time.Minute)
		x.source.put(unreadable("bad", 1))
		x.source.put(event("bad", 2))
		x.source.put(event("good", 3))
		x.source.put(event("bad", 4))
		x.pass(time.Second)
		if s := x.Status(4, time.Now()); s.State != projections.Running || x.target.rows["bad"] != 4 || x.target.position != 4 {
			t.Errorf("%+v, rows %v", s, x.target.rows)
		}
		// Before the position the entry is not needed any more.
		close(x.source.out)
		x.pass(time.Minute)
		if len(x.held.held) != 0 {
			t.Errorf("%+v", x.held.held)
		}
	})
}

// A replaced runner, which does not know that it is replaced, quarantines an event that the
// current runner has applied.
func TestAQuarantineOfAReplacedRunnerIsRetried(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.put(event("bad", 1))
		x.source.send(2, 3)
		x.pass(time.Second)
		s := events.StateEntry("a", "bad")
		_ = x.held.Put(t.Context(), quarantine.Entry{View: "view", Journal: "journal", Stream: s, First: 1, Last: 1, Waiting: 1, Reason: "torn"})
		x.pass(time.Second)
		if len(x.held.held) != 0 || x.Status(3, time.Now()).State != projections.Running {
			t.Errorf("%+v", x.held.held)
		}
	})
}

// A bucket may lose acknowledged rows in a crash. The view does not fold retried events again, so
// the retry is repeated.
func TestARetryIsRepeatedAfterTheTargetLosesIt(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.Lossy = true
		x.settle()
		x.source.put(event("good", 1))
		x.source.put(unreadable("bad", 2))
		x.source.put(event("good", 3))
		x.pass(time.Second)
		x.source.mu.Lock()
		x.source.log[1] = event("bad", 2) // readable again
		x.source.mu.Unlock()
		x.held.ask("bad", quarantine.RequestRetry)
		x.pass(time.Second)
		if s := x.Status(3, time.Now()); x.target.rows["bad"] != 2 || s.State != projections.Running {
			t.Fatalf("%+v, rows %v", s, x.target.rows)
		}
		for range 2 {
			x.target.mu.Lock()
			delete(x.target.rows, "bad")
			x.target.mu.Unlock()
			close(x.source.out)
			x.pass(time.Minute)
			if s := x.Status(3, time.Now()); x.target.rows["bad"] != 2 || s.State != projections.Running || s.Quarantined != 0 {
				t.Errorf("%+v, rows %v", s, x.target.rows)
			}
		}
		x.source.put(event("good", 4)) // once it is on the disk, earlier rows are too
		x.pass(time.Second)
		close(x.source.out)
		x.pass(time.Minute)
		if len(x.held.held) != 0 {
			t.Errorf("%+v", x.held.held)
		}
	})
}
