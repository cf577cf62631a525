package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// watched is a journal of five events with its guard.
type watched struct {
	t     *testing.T
	nc    *nats.Conn
	j     *Journal
	guard *Guard
	next  history.Journal
}

func watch(t *testing.T) *watched {
	t.Helper()
	nc := support.Engine(t, support.NATS(t))
	j, err := Open(t.Context(), nc, Config{})
	harness.Must(t, err)
	w := &watched{t: t, nc: nc, j: j, guard: j.NewGuard(nil, "", harness.Log(t))}
	w.next = w.guard.Wrap(history.New(j, nil, 0))
	for n := range 5 {
		harness.Must(t, w.append(n))
	}
	harness.Must(t, w.guard.CheckOnce(t.Context()))
	return w
}

func (w *watched) append(n int) error {
	ev := events.Event{Type: events.StateSet, Aggregate: "agent", ID: "a", Key: fmt.Sprint("k", n), Version: 1, Digest: fmt.Sprint("d", n), Schema: 1, Data: []byte(`{"value":1}`)}
	_, err := w.next.Append(w.t.Context(), history.Writes(events.StateEntry("a", ev.Key), 0, fmt.Sprint(n), []events.Event{ev}))
	return err
}

// again deletes the stream and creates it with the same configuration and other
// events: a copy that is older, or another one.
func (w *watched) again(edit func(*jetstream.StreamConfig), digests ...string) {
	w.t.Helper()
	js := support.JetStream(w.t, w.nc)
	s, err := js.Stream(w.t.Context(), "EVENTS")
	harness.Must(w.t, err)
	cfg := s.CachedInfo().Config
	if edit != nil {
		edit(&cfg)
	}
	// A stream that was just deleted may still answer a publish.
	harness.Eventually(w.t, "the stream is made again", func() error {
		if err := js.DeleteStream(w.t.Context(), "EVENTS"); err != nil {
			return err
		}
		s, err := js.CreateStream(w.t.Context(), cfg)
		if err != nil {
			return err
		}
		for n, digest := range digests {
			ev := events.Event{Type: events.StateSet, Aggregate: "agent", ID: "a", Key: fmt.Sprint("k", n), Version: 1, Digest: digest, Schema: 1, Data: []byte(`{"value":1}`)}
			if _, err := w.j.Append(w.t.Context(), history.Writes(events.StateEntry("a", ev.Key), 0, "", []events.Event{ev})); err != nil {
				return err
			}
		}
		info, err := s.Info(w.t.Context())
		if err == nil && info.State.LastSeq != uint64(len(digests)) {
			err = fmt.Errorf("it has %d events", info.State.LastSeq)
		}
		return err
	})
}

func code(err error) string {
	var d *domain.Error
	if errors.As(err, &d) && d.Kind == domain.Unavailable {
		return d.Code
	}
	return fmt.Sprint(err)
}

// TestGuardNoticesALostJournal: while the journal is not the one that the engine
// knows, commands are refused; when it is back they are not.
func TestGuardNoticesALostJournal(t *testing.T) {
	same := []string{"d0", "d1", "d2", "d3", "d4"}
	for name, c := range map[string]struct {
		lose func(*watched)
		code string
		back func(*watched)
	}{
		"deleted": {func(w *watched) { harness.Must(t, support.JetStream(t, w.nc).DeleteStream(t.Context(), "EVENTS")) }, "journal.missing", nil},
		"another": {func(w *watched) {
			w.again(func(cfg *jetstream.StreamConfig) { cfg.Metadata[metaIncarnation] = "01ANOTHER" }, same...)
		}, "journal.changed", nil},
		"shorter":      {func(w *watched) { w.again(nil, same[:3]...) }, "journal.rolled_back", func(w *watched) { w.again(nil, same...) }},
		"empty":        {func(w *watched) { w.again(nil) }, "journal.rolled_back", nil},
		"other events": {func(w *watched) { w.again(nil, "d0", "d1", "d2", "d3", "x4", "x5") }, "journal.rolled_back", func(w *watched) { w.again(nil, append(same, "d5")...) }},
		"with a gap": {func(w *watched) {
			w.again(func(cfg *jetstream.StreamConfig) { cfg.DenyDelete = false }, same...)
			s, err := support.JetStream(t, w.nc).Stream(t.Context(), "EVENTS")
			harness.Must(t, err)
			harness.Must(t, s.DeleteMsg(t.Context(), 2))
		}, "journal.damaged", nil},
		"shorter, and grown again": {func(w *watched) {
			harness.Must(t, w.append(5)) // after the last look
			w.again(nil, same...)
			for n := range 3 {
				harness.Must(t, w.append(6+n))
			}
		}, "journal.rolled_back", nil},
		"accepted": {func(w *watched) { w.again(nil, same[:3]...) }, "journal.rolled_back", func(w *watched) { harness.Must(t, w.j.Accept(t.Context())) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t)
			var lost atomic.Int32
			w.guard.Changed = func(is bool) {
				if is {
					lost.Add(1)
				} else {
					lost.Add(-1)
					if got := code(w.guard.Unready()); got != c.code {
						t.Errorf("ready, while appends are refused: %s", got)
					}
				}
			}
			c.lose(w)
			w.guard.check(t.Context(), suspectChecks)
			if err := w.guard.Err(); err != nil {
				t.Errorf("one look is enough: %v", err)
			}
			w.guard.check(t.Context(), suspectChecks)
			if got := code(w.guard.Err()); got != c.code || lost.Load() != 1 {
				t.Errorf("the guard says %s, Changed was called %d times", got, lost.Load())
			}
			if got := code(w.append(9)); got != c.code {
				t.Errorf("an append: %s", got)
			}
			if _, _, err := w.next.Last(t.Context(), "agent.a.state.k1", history.Linearizable); code(err) != c.code {
				t.Errorf("a read to decide from: %v", err)
			}
			if c.back == nil {
				return
			}
			c.back(w)
			if err := w.guard.CheckOnce(t.Context()); err != nil || lost.Load() != 0 || w.guard.Unready() != nil {
				t.Errorf("the journal is back: %v, %v", err, w.guard.Unready())
			}
			harness.Must(t, w.append(9))
		})
	}
}

// TestGuardEndsWaitingAppends: an append that waits when the guard stops does not
// wait any longer.
func TestGuardEndsWaitingAppends(t *testing.T) {
	w := watch(t)
	w.next = w.guard.Wrap(silent{w.next})
	done := make(chan error, 1)
	go func() { done <- w.append(7) }()
	w.guard.Stop(domain.Errorf(domain.Unavailable, "journal.full", "full"))
	if err := harness.Receive(t, "the append", done); !errors.Is(err, context.Canceled) && code(err) != "journal.full" {
		t.Error(err)
	}
	if err := w.append(8); code(err) != "journal.full" || code(w.guard.Err()) != "journal.full" {
		t.Error(err)
	}
	w.guard.Stop(nil)
	if err := w.guard.Err(); err != nil {
		t.Error(err)
	}
}

// silent is a journal that does not answer.
type silent struct{ history.Journal }

func (silent) Append(ctx context.Context, _ []history.Write) (history.Appended, error) {
	<-ctx.Done()
	return history.Appended{}, ctx.Err()
}

// TestFullJournal: each limit of a server, an account or a stream is the error
// journal.full, for one event and for a batch, and ends when there is room.
func TestFullJournal(t *testing.T) {
	for name, limit := range map[string]func(*jetstream.StreamConfig){
		"bytes":    func(cfg *jetstream.StreamConfig) { cfg.MaxBytes = 1 << 10 },
		"messages": func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t)
			js := support.JetStream(t, w.nc)
			s, err := js.Stream(t.Context(), "EVENTS")
			harness.Must(t, err)
			free := s.CachedInfo().Config
			cfg := free
			limit(&cfg)
			_, err = js.UpdateStream(t.Context(), cfg)
			harness.Must(t, err)
			for n := 10; err == nil && n < 30; n++ {
				err = w.append(n)
			}
			if code(err) != "journal.full" || code(w.guard.Err()) != "journal.full" {
				t.Errorf("%v; the guard says %v", err, w.guard.Err())
			}
			_, err = js.UpdateStream(t.Context(), free)
			harness.Must(t, err)
			w.guard.refused.Store(time.Now().Add(time.Hour).UnixNano()) // the clock is set back
			harness.Eventually(t, "there is room", func() error { return w.guard.CheckOnce(t.Context()) })
			harness.Must(t, w.append(40))
			harness.Eventually(t, "the guard notices", func() error { w.guard.check(t.Context(), 1); return w.guard.Err() })
		})
	}
	for _, err := range []jetstream.ErrorCode{natsio.CodeStorageExceeded, natsio.CodeNoResources, natsio.CodeMemoryExceeded, natsio.CodeAccountExceeded} {
		if got := code(appendError(&jetstream.APIError{ErrorCode: err})); got != "journal.full" {
			t.Errorf("server error %d is %s", err, got)
		}
	}
}

// TestOpenRefusesAnotherJournal: Open creates nothing where another store knows a
// journal.
func TestOpenRefusesAnotherJournal(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	js := support.JetStream(t, nc)
	refused := func(what string, cfg Config) {
		t.Helper()
		if _, err := Open(t.Context(), nc, cfg); !errors.Is(err, ErrOtherJournal) {
			t.Errorf("%s: %v", what, err)
		}
	}
	streams := func() (n int) {
		for range js.StreamNames(t.Context()).Name() {
			n++
		}
		return n
	}
	other := []Known{{Store: "the data directory", Incarnation: "01OTHER"}}
	weak := []Known{{Store: "a bucket", Incarnation: "01OTHER", Weak: true}}
	refused("no journal", Config{Known: other})
	refused("no journal, and only KV knows one", Config{Known: weak})
	if n := streams(); n != 0 {
		t.Errorf("%d streams were created", n)
	}
	j, err := Open(t.Context(), nc, Config{Known: other, Accept: true, Partitions: 3})
	harness.Must(t, err)
	refused("another journal", Config{Known: other})
	for what, known := range map[string][]Known{"none": {{Store: "new"}}, "this": {{Store: "x", Incarnation: j.ID()}}, "KV": weak} {
		if _, err := Open(t.Context(), nc, Config{Known: known}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	harness.Must(t, js.DeleteStream(t.Context(), "EVENTS_0"))
	refused("a partition is missing", Config{Known: []Known{{Store: "x", Incarnation: j.ID()}}})
	if n := streams(); n != 2 {
		t.Errorf("there are %d streams", n)
	}
	fresh := Config{Known: []Known{{Store: "new"}, {Store: "a new bucket", Weak: true}}} // as of an engine whose stores are new
	if again, err := Open(t.Context(), nc, fresh); err != nil || again.ID() != j.ID() {  // as after an interrupted first start
		t.Errorf("an empty journal that no store knows: %v", err)
	}
}

// TestGuardKnowsANote: a note of what the journal had is enough to notice, at the
// start, that it lost events.
func TestGuardKnowsANote(t *testing.T) {
	w := watch(t)
	points, accepted, ok := w.guard.Known()
	if !ok || len(points) != 1 || points[0] != (Point{Revision: 5, Digest: "d4"}) {
		t.Fatalf("%+v %v", points, ok)
	}
	w.again(nil, "d0", "d1")
	if got := code(w.j.NewGuard(points, accepted, harness.Log(t)).CheckOnce(t.Context())); got != "journal.rolled_back" {
		t.Error(got)
	}
	harness.Must(t, w.j.Accept(t.Context()))
	harness.Must(t, w.j.NewGuard(points, accepted, harness.Log(t)).CheckOnce(t.Context()))
	fresh := w.j.NewGuard(nil, "", harness.Log(t))
	fresh.Learn(0, Point{Revision: 3})
	if got := code(fresh.CheckOnce(t.Context())); got != "<nil>" { // the journal was accepted since
		t.Error(got)
	}
	fresh.Learn(0, Point{Revision: 3})
	if got := code(fresh.CheckOnce(t.Context())); got != "journal.rolled_back" {
		t.Error(got)
	}
}

// TestGuardStopsAndGoesOnAtOnce: whatever order two changes take, appends are refused exactly
// while the guard refuses them.
func TestGuardStopsAndGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	g := &Guard{}
	stopped := domain.Errorf(domain.Unavailable, "engine.stopping", "stopped")
	for range 20_000 {
		var both sync.WaitGroup
		both.Go(func() { g.Stop(stopped) })
		g.Stop(nil)
		both.Wait()
		if says, does := g.stop.Load(), g.gate.state.Load().refusal; says != does {
			t.Fatalf("the guard says %v, appends get %v", says, does)
		}
	}
}
