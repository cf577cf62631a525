package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestTimers: a timer fires with the fraction of its second and never early, also
// behind many timers that fail again and again; one beyond the range of the
// schedule does not fire.
func TestTimers(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	timers, err := coordination.OpenTimers(t.Context(), nc, natsio.NewSubjects(""), harness.Log(t))
	harness.Must(t, err)
	const poisoned = 300 // more than a client's or a consumer's buffer
	for i := range poisoned {
		harness.Must(t, nc.Publish(fmt.Sprint("timers.due.poison.", i), nil))
	}
	for _, at := range []time.Time{
		time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		harness.Must(t, timers.Set(t.Context(), fmt.Sprint("far-", at.Year()), at))
	}
	set := map[string]time.Time{}
	start := time.Now().Add(1100 * time.Millisecond)
	for i := range 20 { // of every fraction
		name := fmt.Sprint("fraction-", i)
		set[name] = start.Add(time.Duration(i) * 53 * time.Millisecond)
		harness.Must(t, timers.Set(t.Context(), name, set[name]))
	}
	type firing struct {
		name string
		at   time.Time
	}
	fired := make(chan firing, len(set))
	harness.Must(t, timers.Watch(func(_ context.Context, name string) error {
		if strings.HasPrefix(name, "poison.") {
			return errors.New("poisoned")
		}
		fired <- firing{name, time.Now()}
		return nil
	}))
	defer timers.Stop()
	for range set {
		f := harness.Receive(t, "a timer", fired)
		if at, ok := set[f.name]; !ok || f.at.Before(at) {
			t.Errorf("%s fired at %s, set for %s", f.name, f.at, at)
		}
		delete(set, f.name)
	}
}

// TestTimersOfAnotherClock: timers fire by the clock of the engine, and not again and again,
// where the clock of the server is ahead of it or behind, also before the difference was
// asked for.
func TestTimersOfAnotherClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ahead time.Duration // the server
		asked bool
	}{
		"ahead": {time.Hour, true}, "ahead, not known": {time.Hour, false}, "behind": {-time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timers, err := coordination.OpenTimers(t.Context(), support.Engine(t, support.NATS(t)), natsio.NewSubjects(""), harness.Log(t))
			harness.Must(t, err)
			now := func() time.Time { return time.Now().Add(-c.ahead) }
			timers.SetClock(now)
			at := now().Add(3 * time.Second)
			var early atomic.Int32
			fired := make(chan int32, 1)
			harness.Must(t, timers.Watch(func(ctx context.Context, name string) error {
				if now().Before(at) { // as a reactor does
					early.Add(1)
					return timers.Set(ctx, name, at)
				}
				fired <- early.Load()
				return nil
			}))
			defer timers.Stop()
			if c.asked {
				_, _, err := timers.Check(t.Context())
				harness.Must(t, err)
			}
			harness.Must(t, timers.Set(t.Context(), "one", at))
			if n := harness.Receive(t, "the timer", fired); n > 2 {
				t.Errorf("it fired %d times before its time", n)
			}
		})
	}
}

// TestTimersOfAMachineThatHasSlept: the caller sets all timers again, and they fire.
func TestTimersOfAMachineThatHasSlept(t *testing.T) {
	t.Parallel()
	timers, err := coordination.OpenTimers(t.Context(), support.Engine(t, support.NATS(t)), natsio.NewSubjects(""), harness.Log(t))
	harness.Must(t, err)
	fired := make(chan string, 1)
	harness.Must(t, timers.Watch(func(_ context.Context, name string) error {
		fired <- name
		return nil
	}))
	defer timers.Stop()
	check := func(want bool) {
		t.Helper()
		if lost, _, err := timers.Check(t.Context()); err != nil || lost != want {
			t.Errorf("lost is %t, %v; want %t", lost, err, want)
		}
	}
	check(false)
	harness.Must(t, timers.Arm(t.Context(), nil, func(context.Context) error { return nil }))
	timers.Sleep(time.Hour)
	check(true)
	if armed, err := timers.Armed(t.Context(), nil); err != nil || armed {
		t.Errorf("armed is %t, %v", armed, err)
	}
	harness.Must(t, timers.Arm(t.Context(), nil, func(ctx context.Context) error {
		return errors.Join(timers.Set(ctx, "past", time.Now().Add(-time.Minute)), timers.Set(ctx, "next", time.Now().Add(time.Second)))
	}))
	if names := harness.Receive(t, "a timer", fired) + harness.Receive(t, "a timer", fired); names != "pastnext" {
		t.Errorf("fired: %s", names)
	}
	check(false)
}

// TestTimersOfTwoEngines: another engine makes the removed consumer again first; each of the
// two goes on with the timers, also when the other one is gone.
func TestTimersOfTwoEngines(t *testing.T) {
	t.Parallel()
	server := support.NATS(t)
	nc := support.Engine(t, server)
	var engines [2]*coordination.Timers
	var fired [2]chan string
	for i := range engines {
		var err error
		engines[i], err = coordination.OpenTimers(t.Context(), support.Engine(t, server), natsio.NewSubjects(""), harness.Log(t))
		harness.Must(t, err)
		fired[i] = make(chan string, 10)
		harness.Must(t, engines[i].Watch(func(_ context.Context, name string) error {
			fired[i] <- name
			return nil
		}))
		defer engines[i].Stop()
	}
	js := support.JetStream(t, nc)
	harness.Eventually(t, "the requests of both engines", func() bool {
		c, err := js.Consumer(t.Context(), coordination.TimerStream, "timers")
		harness.Must(t, err)
		return c.CachedInfo().NumWaiting == len(engines)
	})
	harness.Must(t, js.DeleteConsumer(t.Context(), coordination.TimerStream, "timers"))
	for _, e := range engines {
		lost, _, err := e.Check(t.Context())
		if lost || err != nil {
			t.Fatalf("lost is %t, %v", lost, err)
		}
	}
	engines[0].Stop()
	harness.Eventually(t, "a timer in the other engine", func() bool {
		_, _, err := engines[1].Check(t.Context())
		harness.Must(t, errors.Join(err, nc.Publish("timers.due.next", nil)))
		select {
		case <-fired[1]:
			return true
		default:
			return false
		}
	})
}
