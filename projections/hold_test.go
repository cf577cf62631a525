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

// torn is an entry of the journal that nobody can read.
func torn(key string, revision uint64) history.Message {
	m := history.Message{Bad: errors.New("torn"), Body: []byte("torn")}
	m.Revision, m.Stream = revision, events.StateEntry("a", key)
	return m
}

// one is what is held of a key.
func (x *bench) one(key string) quarantine.Held {
	x.held.mu.Lock()
	defer x.held.mu.Unlock()
	return x.held.held[events.StateEntry("a", key)]
}

func TestPoisonHoldsItsOwnAggregateAlone(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.put(event("bad", 1))
		x.source.put(torn("bad", 2))
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
		if h := x.one("bad"); h.First != 2 || h.Last != 5 || h.Waiting != 3 || h.Reason != "torn" {
			t.Errorf("%+v", h)
		}
		if want := map[uint64]string{2: "torn", 3: "waits behind revision 2", 5: "waits behind revision 2"}; !maps.Equal(x.target.letters, want) {
			t.Errorf("letters %v, want %v", x.target.letters, want)
		}
	})
}

// The target takes the whole batch or none of it: what it refuses is found.
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
			if h := x.one(fmt.Sprint("k", culprit)); h.First != culprit || h.Waiting != 1 || !strings.Contains(h.Reason, "no k") || len(x.held.held) != 1 {
				t.Errorf("%+v", x.held.held)
			}
		})
	}
}

// The view does not pass what it could not note down.
func TestWithoutAQuarantineThePoisonIsNotPassed(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.send(1, 3)
		x.pass(time.Second)
		x.held.err = errors.New("the quarantine is away")
		x.source.put(torn("bad", 4))
		x.source.put(event("good", 5))
		x.pass(time.Minute)
		if s := x.Status(5, time.Now()); x.target.position != 3 || s.State != projections.Waiting || !strings.Contains(s.Reason, "the quarantine is away") {
			t.Errorf("at %d, %+v", x.target.position, s)
		}
		x.held.mu.Lock()
		x.held.err = nil
		x.held.mu.Unlock()
		x.pass(time.Minute)
		if h := x.one("bad"); x.target.position != 5 || h.Waiting != 1 || h.First != 4 {
			t.Errorf("at %d, %+v", x.target.position, h)
		}
	})
}

// A crash after noting and before passing leaves what is noted; coming again,
// it is not counted again.
func TestARestartGoesOnHolding(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		s := events.StateEntry("a", "bad")
		x.held.held[s] = quarantine.Held{View: "view", Journal: "journal", Stream: s, First: 2, Last: 3, Waiting: 2, Reason: "torn"}
		x.settle()
		x.source.put(event("bad", 1))
		x.source.put(event("bad", 2)) // readable meanwhile, and still held
		x.source.put(event("bad", 3))
		x.source.put(event("bad", 4))
		x.pass(time.Second)
		if h := x.one("bad"); h.Waiting != 3 || h.Last != 4 || h.First != 2 || x.target.rows["bad"] != 1 {
			t.Errorf("%+v, rows %v", h, x.target.rows)
		}
	})
}

func TestARetryBringsWhatWaitsLevelOrSaysWhyNot(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.target.refuses = func(e *readmodel.EntryChange) bool { return e.Key == "bad" }
		x.settle()
		x.source.put(event("bad", 1))
		x.source.send(2, 4)
		x.source.put(event("bad", 5))
		x.source.send(6, 7)
		x.source.put(event("bad", 8))
		x.pass(time.Second)
		x.held.ask("bad", quarantine.AskRetry)
		x.pass(time.Second)
		if h := x.one("bad"); h.Attempts != 1 || h.First != 1 || h.Waiting != 3 || len(x.held.asked) != 0 {
			t.Errorf("%+v, asked %v", h, x.held.asked)
		}
		x.target.mu.Lock()
		x.target.refuses = func(e *readmodel.EntryChange) bool { return e.Key == "bad" && e.Revision > 5 }
		x.target.mu.Unlock()
		x.held.ask("bad", quarantine.AskRetry)
		x.pass(time.Second)
		if h := x.one("bad"); h.Attempts != 2 || h.First != 8 || h.Waiting != 1 || x.target.rows["bad"] != 5 || len(x.target.letters) != 1 {
			t.Errorf("%+v, rows %v, letters %v", h, x.target.rows, x.target.letters)
		}
		x.target.mu.Lock()
		x.target.refuses = nil
		x.target.mu.Unlock()
		x.held.ask("bad", quarantine.AskRetry)
		x.pass(time.Second)
		if s := x.Status(8, time.Now()); len(x.held.held) != 0 || x.target.rows["bad"] != 8 || s.State != projections.Running || len(x.target.letters) != 0 {
			t.Errorf("%+v, %v, rows %v, letters %v", s, x.held.held, x.target.rows, x.target.letters)
		}
		x.source.put(event("bad", 9))
		x.pass(time.Second)
		if x.target.rows["bad"] != 9 {
			t.Errorf("rows %v", x.target.rows)
		}
	})
}

// More than one repair's batch waits, and in the midst of it another defect.
func TestALongRetryStopsAtTheNextDefect(t *testing.T) {
	onBench(t, projections.Batching{Max: 2000}, func(x *bench) {
		x.settle()
		for r := uint64(1); r <= 900; r++ {
			if r == 1 || r == 700 {
				x.source.put(torn("bad", r))
			} else {
				x.source.put(event("bad", r))
			}
		}
		x.pass(time.Second)
		x.source.mu.Lock()
		x.source.log[0] = event("bad", 1) // mended
		x.source.mu.Unlock()
		x.held.ask("bad", quarantine.AskRetry)
		x.pass(time.Second)
		if h := x.one("bad"); h.First != 700 || h.Waiting != 201 || h.Last != 900 || x.target.rows["bad"] != 699 || len(x.target.letters) != 201 {
			t.Errorf("%+v, rows %v, %d letters", h, x.target.rows, len(x.target.letters))
		}
	})
}

// giveUpBad holds the first two events of an aggregate and drops them; another
// has the third.
func (x *bench) giveUpBad() {
	x.settle()
	x.source.put(torn("bad", 1))
	x.source.put(event("bad", 2))
	x.source.put(event("good", 3))
	x.pass(time.Second)
	x.held.ask("bad", quarantine.AskDrop)
	x.pass(time.Second)
}

func TestWhatIsDroppedStaysDroppedAndTheRestGoesOn(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.giveUpBad()
		if s := x.Status(3, time.Now()); s.State != projections.Running || s.Quarantined != 0 || len(x.target.letters) != 0 || len(x.held.asked) != 0 {
			t.Errorf("%+v, letters %v, asked %v", s, x.target.letters, x.held.asked)
		}
		// The view goes back, as one does that has lost its newest rows.
		x.target.mu.Lock()
		x.target.position = 0
		x.target.mu.Unlock()
		close(x.source.out)
		x.pass(time.Minute)
		x.source.put(torn("bad", 1))
		x.source.put(event("bad", 2))
		x.source.put(event("good", 3))
		x.source.put(event("bad", 4))
		x.pass(time.Second)
		if s := x.Status(4, time.Now()); s.State != projections.Running || x.target.rows["bad"] != 4 || x.target.position != 4 {
			t.Errorf("%+v, rows %v", s, x.target.rows)
		}
		// Behind the position nothing of it is needed any more.
		close(x.source.out)
		x.pass(time.Minute)
		if len(x.held.held) != 0 {
			t.Errorf("%+v", x.held.held)
		}
	})
}

// A runner that had been replaced, and did not know it, notes something down
// that the present one has applied.
func TestWhatAnotherRunnerNotedIsTriedAgain(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.put(event("bad", 1))
		x.source.send(2, 3)
		x.pass(time.Second)
		s := events.StateEntry("a", "bad")
		_ = x.held.Put(t.Context(), quarantine.Held{View: "view", Journal: "journal", Stream: s, First: 1, Last: 1, Waiting: 1, Reason: "torn"})
		x.pass(time.Second)
		if len(x.held.held) != 0 || x.Status(3, time.Now()).State != projections.Running {
			t.Errorf("%+v", x.held.held)
		}
	})
}

// A bucket may lose in a crash what it had acknowledged: what was repaired is
// not folded again by itself, so the repair is.
func TestARepairIsNotLostWithTheTargetsTail(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.Lossy = true
		x.settle()
		x.source.put(event("good", 1))
		x.source.put(torn("bad", 2))
		x.source.put(event("good", 3))
		x.pass(time.Second)
		x.source.mu.Lock()
		x.source.log[1] = event("bad", 2) // mended
		x.source.mu.Unlock()
		x.held.ask("bad", quarantine.AskRetry)
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
		x.source.put(event("good", 4)) // with it on the disk, what came before is too
		x.pass(time.Second)
		close(x.source.out)
		x.pass(time.Minute)
		if len(x.held.held) != 0 {
			t.Errorf("%+v", x.held.held)
		}
	})
}
