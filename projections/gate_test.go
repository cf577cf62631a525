package projections_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// bothViews is the quarantine of two views: front for the view "front", the embedded one for any
// other.
type bothViews struct {
	*fakeQuarantine
	front *fakeQuarantine
}

func (q *bothViews) Entries(ctx context.Context, view string, p int) ([]quarantine.Entry, error) {
	if view == "front" {
		return q.front.Entries(ctx, view, p)
	}
	return q.fakeQuarantine.Entries(ctx, view, p)
}

func (q *bothViews) Cached(view string, p int) []quarantine.Entry {
	if view == "front" {
		return q.front.Cached(view, p)
	}
	return q.fakeQuarantine.Cached(view, p)
}

// behind is a bench whose view follows another runner.
type behind struct {
	*bench
	front *bench
}

// inFront changes the leading view's quarantine of a key and notifies the following view.
func (x *behind) inFront(h quarantine.Entry, there bool) {
	h.View, h.Journal = "front", "journal"
	_ = x.front.held.change(func() {
		if delete(x.front.held.held, h.Stream); there {
			x.front.held.held[h.Stream] = h
		}
	})
	_ = x.held.change(func() {})
}

// onBehind runs a test with both views in one bubble. The following view starts with its bench,
// the leading one with its first settle or pass.
func onBehind(t *testing.T, test func(*behind)) {
	t.Helper()
	onBench(t, batching, func(x *bench) {
		ctx, stop := context.WithCancel(context.Background())
		f := &bench{source: &source{}, target: &target{}, stop: stop, ended: make(chan struct{}), held: newPaperQuarantine()}
		f.Runner = &projections.Runner{View: "front", Source: f.source, Target: f.target, Batching: batching,
			Progress: projections.NewProgress(1), Log: x.Log, Quarantine: f.held, ReadStream: f.source.Stream}
		started := false
		f.start = func() {
			if !started {
				started = true
				go func() { defer close(f.ended); f.Run(ctx) }()
			}
		}
		gate := projections.NewGate("front", 1, x.target)
		f.Leads, x.Follows = gate, gate
		x.Quarantine = &bothViews{x.held, f.held}
		test(&behind{x, f})
		if stop(); started {
			<-f.ended
		}
	})
}

// held3 is the leading view's quarantine of k3.
var held3 = quarantine.Entry{Stream: events.StateEntry("a", "k3"), First: 3, Last: 3, Waiting: 1, Reason: "no room"}

func TestAFollowingViewStaysBehind(t *testing.T) {
	onBehind(t, func(x *behind) {
		x.target.position, x.source.head = 1, 6
		x.settle()
		x.pass(time.Minute) // longer than the check for a silent reader
		if s := x.Status(6, time.Now()); x.target.position != 1 || s.State != projections.Starting || s.LagEvents != 5 || len(x.source.reads) != 0 {
			t.Fatalf("before the leading view has started: at %d, %+v, read after %v", x.target.position, s, x.source.reads)
		}
		x.front.settle()
		x.front.source.send(1, 4)
		x.front.pass(time.Minute)
		if x.target.position != 4 {
			t.Errorf("the leading view is at %d, the following one at %d", x.front.target.position, x.target.position)
		}
		x.front.source.send(5, 6)
		x.front.pass(time.Minute)
		if s := x.Status(6, time.Now()); x.target.position != 6 || len(x.source.reads) != 0 || s.State != projections.Running {
			t.Errorf("at %d, read after %v, %+v", x.target.position, x.source.reads, s)
		}
	})
}

// A reader that does not deliver what the leading view has passed is replaced.
func TestASilentReaderIsNoticedBehindAGate(t *testing.T) {
	onBehind(t, func(x *behind) {
		x.front.target.position, x.front.source.head, x.source.head = 2, 2, 2
		x.front.settle()
		x.settle()
		x.pass(time.Minute)
		if len(x.source.reads) < 2 {
			t.Errorf("read after %v", x.source.reads)
		}
	})
}

// The following view quarantines what the leading view does, and retries it when the leading view
// has applied it.
func TestAFollowingViewQuarantinesTheSame(t *testing.T) {
	onBehind(t, func(x *behind) {
		x.front.target.position, x.front.source.head = 9, 9
		x.inFront(held3, true)
		x.front.settle()
		x.settle()
		x.source.send(1, 4)
		m := event("k3", 5)
		x.source.put(m)
		x.pass(time.Second)
		s := x.Status(5, time.Now())
		if s.State != projections.Degraded || s.Quarantined != 1 || !strings.Contains(s.Reason, "quarantined by the view front: no room") || x.target.position != 5 {
			t.Fatalf("%+v, at %d", s, x.target.position)
		}
		x.held.ask("k3", quarantine.RequestRetry)
		x.pass(time.Second)
		if h := x.entry("k3"); h.First != 3 || h.Waiting != 2 || h.Attempts != 1 || x.target.rows["k3"] != 0 {
			t.Errorf("retried while the leading view quarantines it: %+v, rows %v", h, x.target.rows)
		}
		part := held3
		part.First = 5 // the leading view has applied one event of two
		x.inFront(part, true)
		x.pass(time.Second)
		if h := x.entry("k3"); h.First != 5 || x.target.rows["k3"] != 3 {
			t.Errorf("%+v, rows %v", h, x.target.rows)
		}
		x.inFront(held3, false)
		x.pass(time.Second)
		if s := x.Status(5, time.Now()); s.State != projections.Running || x.target.rows["k3"] != 5 || len(x.held.held) != 0 {
			t.Errorf("%+v, rows %v", s, x.target.rows)
		}
	})
}

// A failed retry is not repeated until the leading view's quarantine changes.
func TestAFailedRetryBehindAGateIsNotRepeated(t *testing.T) {
	onBehind(t, func(x *behind) {
		x.front.target.position, x.front.source.head = 9, 9
		x.inFront(held3, true)
		x.front.settle()
		x.settle()
		x.source.send(1, 4)
		x.pass(time.Second)
		x.target.mu.Lock()
		x.target.refuses = func(e *readmodel.EntryChange) bool { return e.Key == "k3" }
		x.target.mu.Unlock()
		x.inFront(held3, false)
		x.pass(time.Minute)
		for range 3 {
			x.inFront(held3, false)
			x.pass(time.Minute)
		}
		if h := x.entry("k3"); h.Attempts != 1 || h.First != 3 {
			t.Errorf("%+v", h)
		}
	})
}

// The following view skips events that the leading view has dropped, also when it has quarantined
// them, and applies later ones.
func TestAFollowingViewSkipsDroppedEvents(t *testing.T) {
	onBehind(t, func(x *behind) {
		x.front.target.position, x.front.source.head = 9, 9
		x.inFront(held3, true)
		x.front.settle()
		x.settle()
		x.source.send(1, 3)
		x.pass(time.Second)
		dropped := held3
		dropped.Dropped, dropped.Last = true, 4
		x.inFront(dropped, true)
		x.source.put(event("k3", 4))
		x.source.put(event("k5", 5))
		x.pass(time.Second)
		if want := map[string]uint64{"k1": 1, "k2": 2, "k5": 5}; !maps.Equal(x.target.rows, want) || len(x.held.held) != 0 || x.target.position != 5 {
			t.Errorf("rows %v, quarantined %v, at %d", x.target.rows, x.held.held, x.target.position)
		}
		x.source.put(event("k3", 6))
		x.pass(time.Second)
		if s := x.Status(6, time.Now()); x.target.rows["k3"] != 6 || s.State != projections.Running {
			t.Errorf("rows %v, %+v", x.target.rows, s)
		}
	})
}

// A view that starts after an event that the leading view quarantines applies the event when it is
// released.
func TestAViewThatStartsAfterAQuarantinedEvent(t *testing.T) {
	onBehind(t, func(x *behind) {
		x.front.target.position, x.front.source.head = 9, 9
		x.target.position = 4
		for revision := uint64(1); revision <= 4; revision++ {
			x.source.log = append(x.source.log, event(fmt.Sprint("k", revision), revision))
		}
		x.source.head = 4
		x.inFront(held3, true)
		x.inFront(quarantine.Entry{Stream: events.StateEntry("a", "k7"), First: 7, Last: 7, Waiting: 1}, true) // not yet passed
		x.front.settle()
		x.settle()
		if h := x.entry("k3"); h.First != 3 || h.Waiting != 1 || len(x.held.held) != 1 {
			t.Fatalf("%+v", x.held.held)
		}
		x.inFront(held3, false)
		x.pass(time.Second)
		if s := x.Status(4, time.Now()); x.target.rows["k3"] != 3 || s.State != projections.Running {
			t.Errorf("rows %v, %+v", x.target.rows, s)
		}
	})
}

// The following view waits until it has read the leading view's quarantine.
func TestAFollowingViewWaitsForTheLeadingQuarantine(t *testing.T) {
	onBehind(t, func(x *behind) {
		x.front.target.position, x.front.source.head = 9, 9
		x.inFront(held3, true)
		x.front.settle()
		x.front.held.mu.Lock()
		x.front.held.err = errors.New("the quarantine is unavailable")
		x.front.held.mu.Unlock()
		x.settle()
		x.pass(time.Minute)
		if s := x.Status(4, time.Now()); len(x.source.reads) != 0 || s.State != projections.Waiting || !strings.Contains(s.Reason, "the quarantine is unavailable") {
			t.Fatalf("read after %v, %+v", x.source.reads, s)
		}
		x.front.held.mu.Lock()
		x.front.held.err = nil
		x.front.held.mu.Unlock()
		x.pass(time.Minute)
		x.source.send(1, 4)
		x.pass(time.Second)
		if x.target.position != 4 || x.target.rows["k3"] != 0 {
			t.Errorf("at %d, rows %v", x.target.position, x.target.rows)
		}
	})
}

// A drop is kept until the following view has passed it, which skips the same events.
func TestADropIsKeptUntilTheFollowingViewHasPassed(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		next := &target{position: 1}
		x.Leads = projections.NewGate("view", 1, next)
		x.dropBad()
		for range 2 {
			close(x.source.out)
			x.pass(time.Minute)
			if h := x.entry("bad"); !h.Dropped || h.First != 1 || h.Last != 3 {
				t.Errorf("%+v", x.held.held)
			}
		}
		x.source.put(event("bad", 4)) // applied meanwhile
		x.pass(time.Second)
		if s := x.Status(4, time.Now()); s.State != projections.Running || x.target.rows["bad"] != 4 || len(x.target.quarantined) != 0 {
			t.Errorf("%+v, rows %v, quarantined %v", s, x.target.rows, x.target.quarantined)
		}
		next.mu.Lock()
		next.position = 3
		next.mu.Unlock()
		close(x.source.out)
		x.pass(time.Minute)
		if len(x.held.held) != 0 {
			t.Errorf("%+v", x.held.held)
		}
	})
}
