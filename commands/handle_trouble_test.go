package commands_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// troubled is a journal whose next appends fail as next says, in order.
type troubled struct {
	history.Journal
	mu   sync.Mutex
	next []func(store func() (history.Appended, error)) (history.Appended, error)
}

func (j *troubled) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	store := func() (history.Appended, error) { return j.Journal.Append(ctx, writes) }
	j.mu.Lock()
	if len(j.next) == 0 {
		j.mu.Unlock()
		return store()
	}
	wrong := j.next[0]
	j.next = j.next[1:]
	j.mu.Unlock()
	return wrong(store)
}

// lostAck stores, and its answer is lost.
func lostAck(store func() (history.Appended, error)) (history.Appended, error) {
	_, err := store()
	return history.Appended{}, errors.Join(history.ErrOutcomeUnknown, err)
}

// lostAppend does not store, and its outcome is unknown.
func lostAppend(func() (history.Appended, error)) (history.Appended, error) {
	return history.Appended{}, history.ErrOutcomeUnknown
}

func refusedAppend(func() (history.Appended, error)) (history.Appended, error) {
	return history.Appended{}, errors.New("no stream here")
}

func TestAnUnknownOutcomeIsResolved(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		journal := &troubled{Journal: e.journal}
		e = newEngine(t, journal, commands.Config{})
		v := 0
		for _, trouble := range [][]func(func() (history.Appended, error)) (history.Appended, error){
			{lostAck}, {lostAppend}, {lostAppend, lostAck}, {lostAck, lostAck}, {lostAppend, lostAppend, lostAppend},
		} {
			journal.next = trouble
			command, body := id(), fmt.Sprintf(`{"key":"k","value":%d,"expected_version":%d}`, v, v)
			r, err := e.do(command, "set", body)
			v++
			if err != nil || r.Outcome != domain.Accepted || r.Version != uint64(v) {
				t.Fatalf("%+v, %v", r, err)
			}
			if r.Replayed {
				t.Errorf("the first delivery is answered as a repeated one: %+v", r)
			}
			e.count("k", v, 0)
			e.replays(command, "set", body, r)
		}
	})
}

func TestAnUnknownOutcomeOfALossIsResolved(t *testing.T) {
	journal := &troubled{Journal: journaltest.History(t, 1)}
	e := newEngine(t, journal, commands.Config{})
	e.accepted("", "set", `{"key":"k","value":1}`)
	journal.next = append(journal.next, lostAck)
	e.refused(youngID(), "set", `{"key":"k","value":2,"strategy":"reject"}`, domain.Conflict, "state.conflict")
	journal.next = append(journal.next, lostAck)
	if r, err := e.do(youngID(), "set", `{"key":"k","value":2,"timestamp":"2001-01-01T00:00:00Z"}`); err != nil || r.Outcome != domain.Superseded {
		t.Errorf("%+v, %v", r, err)
	}
	e.count("k", 1, 2)
}

// An append that is stored only after the engine searched for it and tried again
// has no effect.
func TestALateAppendTakesEffectOnce(t *testing.T) {
	journal := &troubled{Journal: journaltest.History(t, 1)}
	e := newEngine(t, journal, commands.Config{})
	var late func() (history.Appended, error)
	journal.next = append(journal.next, func(store func() (history.Appended, error)) (history.Appended, error) {
		late = store
		return history.Appended{}, history.ErrOutcomeUnknown
	})
	r, err := e.do(youngID(), "set", `{"key":"k","value":1}`)
	if err != nil || r.Version != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got, err := late(); err == nil && !got.Duplicate {
		t.Errorf("stored late as well: %+v", got)
	}
	e.count("k", 1, 0)
	e.accepted("", "set", `{"key":"k","value":2}`)
}

func TestAJournalThatRefusesIsUnavailable(t *testing.T) {
	journal := &troubled{Journal: journaltest.History(t, 1)}
	e := newEngine(t, journal, commands.Config{})
	journal.next = append(journal.next, refusedAppend)
	id := youngID()
	e.refused(id, "set", `{"key":"k","value":1}`, domain.Unavailable, "journal.unavailable")
	e.count("k", 0, 0)
	e.accepted(id, "set", `{"key":"k","value":1}`)
}

// gate is a journal whose appends wait until it opens.
type gate struct {
	history.Journal
	entered chan struct{}
	open    chan struct{}
}

func newGate(j history.Journal) *gate {
	return &gate{Journal: j, entered: make(chan struct{}, 100), open: make(chan struct{})}
}

func (g *gate) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	g.entered <- struct{}{}
	select {
	case <-g.open:
		return g.Journal.Append(ctx, writes)
	case <-ctx.Done():
		return history.Appended{}, ctx.Err()
	}
}

func TestOverloadIsRefusedAtOnce(t *testing.T) {
	g := newGate(journaltest.History(t, 1))
	e := newEngine(t, g, commands.Config{InFlight: 2})
	first, second := e.send("", "a1", "set", `{"key":"k","value":1}`), e.send("", "a1", "set", `{"key":"l","value":1}`)
	harness.Receive(t, "an append", g.entered)
	harness.Receive(t, "an append", g.entered)
	for range 3 {
		err := e.refused("", "set", `{"key":"m","value":1}`, domain.Overloaded, "engine.overloaded")
		if ms, ok := err.Details["retry_after_ms"].(int); !ok || ms < 1 {
			t.Errorf("retry after %v", err.Details)
		}
	}
	if e.InFlight() != 2 {
		t.Errorf("%d in flight", e.InFlight())
	}
	close(g.open)
	for _, a := range []<-chan answer{first, second} {
		if got := harness.Receive(t, "an answer", a); got.err != nil {
			t.Error(got.err)
		}
	}
	e.accepted("", "set", `{"key":"m","value":1}`)
	e.count("m", 1, 0)
}

func TestCloseDrains(t *testing.T) {
	g := newGate(journaltest.History(t, 1))
	e := newEngine(t, g, commands.Config{})
	var waiting []<-chan answer
	for i := range 20 {
		waiting = append(waiting, e.send("", "a1", "set", fmt.Sprintf(`{"key":"k%d","value":1}`, i%5)))
	}
	harness.Receive(t, "an append", g.entered)
	closed := make(chan struct{})
	go func() { e.Close(); close(closed) }()
	harness.Eventually(t, "closing", func() bool {
		got := harness.Receive(t, "an answer", e.send("", "a1", "delete", `{"key":"late"}`))
		var known *domain.Error
		return errors.As(got.err, &known) && known.Kind == domain.Unavailable && known.Code == "engine.stopping"
	})
	select {
	case <-closed:
		t.Error("closed while commands were under way")
	default:
	}
	close(g.open)
	for i, a := range waiting {
		if got := harness.Receive(t, "an answer", a); got.err != nil {
			t.Errorf("the %d.: %v", i, got.err)
		}
	}
	harness.Receive(t, "the end", harness.Closed(closed))
	for i := range 5 {
		e.count(fmt.Sprintf("k%d", i), 4, 0)
	}
}

func TestACancelledCallerGetsUnavailable(t *testing.T) {
	g := newGate(journaltest.History(t, 1))
	e := newEngine(t, g, commands.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error, 1)
	e.Handle(ctx, commands.Request{Aggregate: "agent", ID: "a1", Verb: "set", CommandID: youngID(), Body: []byte(`{"key":"k","value":1}`)},
		func(_ commands.Receipt, err error) { answers <- err })
	harness.Receive(t, "an append", g.entered)
	cancel()
	var known *domain.Error
	if err := harness.Receive(t, "an answer", answers); !errors.As(err, &known) || known.Kind != domain.Unavailable {
		t.Errorf("answered with %v", err)
	}
}
