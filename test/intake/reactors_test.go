package intake_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// echo reacts to each write of key "in" with a write of key "out", whose value
// is the version of the first.
func echo(seen *calls, fail func(n int) error) reactors.Reactor {
	const name = "echo"
	return reactors.Reactor{
		Name: name, Types: []string{events.StateSet}, Subjects: []string{"agent.*.state.in"},
		React: func(ctx context.Context, rec events.Record, send reactors.Send) error {
			if n := seen.add(rec.CommandID); fail != nil {
				if err := fail(n); err != nil {
					return err
				}
			}
			_, err := send(ctx, commands.Request{
				Aggregate: "agent", ID: rec.ID, Verb: "set", CommandID: reactors.CommandID(name, &rec),
				Body: fmt.Appendf(nil, `{"key":"out","value":%d,"strategy":"last_write_wins"}`, rec.Revision),
			})
			return err
		},
	}
}

func (r *rig) echoed(agents, each int) {
	r.t.Helper()
	harness.Eventually(r.t, "all echoes", func() bool {
		n := 0
		for a := range agents {
			n += len(r.history(events.StateEntry(fmt.Sprint("a", a), "out")))
		}
		if n > agents*each {
			r.t.Fatalf("%d echoes of %d events", n, agents*each)
		}
		return n == agents*each
	})
}

// TestReactorsRunOnceAndSurvive: two engines share a reactor. The next engine
// processes events that were written while none ran; events from before the
// installation of the reactor are ignored.
func TestReactorsRunOnceAndSurvive(t *testing.T) {
	for _, partitions := range []int{1, 2} {
		t.Run(fmt.Sprint(partitions, " partitions"), func(t *testing.T) {
			r := newRig(t, partitions)
			var seen calls
			plain := r.start(nil)
			old := r.enqueue("enqueue.agent.a0.set", "", `{"key":"in","value":0}`)
			r.outcome(plain, old)
			first, second := r.start(nil, echo(&seen, nil)), r.start(nil, echo(&seen, nil))
			write := func(n int) {
				for i := range n {
					r.enqueue(fmt.Sprintf("enqueue.agent.a%d.set", i%5), "", fmt.Sprintf(`{"key":"in","value":%d,"strategy":"last_write_wins"}`, i))
				}
				r.drained()
			}
			write(100)
			r.echoed(5, 20)
			first.close()
			second.close()
			write(50) // plain executes them, and no reactor runs
			third := r.start(nil, echo(&seen, nil))
			r.echoed(5, 30)
			third.close()
			plain.close()
			for id, n := range seen.n {
				if n != 1 || id == old {
					t.Errorf("%s was seen %d times", id, n)
				}
			}
		})
	}
}

// TestReactorFails: a failing reactor receives an event ten times; then the
// event is a dead letter, which a retry gives to the reactor again.
func TestReactorFails(t *testing.T) {
	r := newRig(t, 1)
	var seen calls
	var mended atomic.Bool
	list := echo(&seen, func(n int) error {
		switch {
		case mended.Load():
			return nil
		case n%2 == 0:
			panic("a defect")
		}
		return errors.New("a failure")
	})
	e := r.start(nil, list)
	defer e.close()
	id := r.enqueue("enqueue.agent.a0.set", "", `{"key":"in","value":1}`)
	letter := r.awaitDeadLetters(1)[0]
	if letter.Source != "reactor.echo" || letter.Subject != "events.agent.a0.state.in" || letter.Reason == "" || letter.Stream != "EVENTS" {
		t.Errorf("dead letter %+v", letter)
	}
	if n := seen.add(id) - 1; n != 10 {
		t.Errorf("seen %d times, want 10", n)
	}
	mended.Store(true)
	harness.Must(t, r.deadLetters().Retry(t.Context(), &letter))
	r.echoed(1, 1)
	r.drained()
	r.awaitDeadLetters(0)
}

// TestReactorWaitsForAStore: while what a reactor needs does not answer, its event is
// delivered again, more often than one that fails, and becomes no dead letter. Nor does
// it by a failure afterwards.
func TestReactorWaitsForAStore(t *testing.T) {
	r := newRig(t, 1)
	var seen calls
	e := r.start(nil, echo(&seen, func(n int) error {
		switch {
		case n > 18:
			return nil
		case n > 15:
			return errors.New("a failure")
		}
		return fmt.Errorf("set the timer: %w", []error{jetstream.ErrNoStreamResponse, context.DeadlineExceeded, &jetstream.APIError{Code: 503}}[n%3])
	}))
	defer e.close()
	r.enqueue("enqueue.agent.a0.set", "", `{"key":"in","value":1}`)
	r.echoed(1, 1)
	r.awaitDeadLetters(0)
}
