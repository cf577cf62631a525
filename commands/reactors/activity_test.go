package reactors

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
)

// world is an Activity whose commands and kept agents are recorded.
type world struct {
	*Activity
	mu   sync.Mutex
	sent []string // "verb id"
	fail error    // of commands
	ttl  time.Duration

	clock atomic.Int64 // what the clock was set by
}

func (w *world) note(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, what)
	return w.fail
}

func (w *world) Keep(_ context.Context, agent string) error { return w.note("keep " + agent) }
func (w *world) Interval() time.Duration                    { return 3 * time.Second }

func (w *world) set(fail error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = fail
}

// took returns what was sent since the last call.
func (w *world) took() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

func run(t *testing.T, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ttl: 10 * time.Second}
		w.Activity = NewActivity(func() time.Duration { return w.ttl }, func(_ context.Context, r commands.Request) (commands.Receipt, error) {
			return commands.Receipt{Outcome: domain.Accepted}, w.note(r.Verb + " " + r.ID)
		}, w, slog.New(slog.DiscardHandler))
		w.wall = func() time.Time { return time.Now().Round(0).Add(time.Duration(w.clock.Load())) }
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		f(w)
		cancel()
		running.Wait()
	})
}

func (w *world) phase(id, phase string, revision uint64) {
	w.Changed("lifecycle", id, []byte(`{"phase":"`+phase+`"}`), revision)
}

// TestAWriteAfterAnExpiryActivates: in whatever order a write and the expiry are
// seen, only a write after the expiry hydrates the agent.
func TestAWriteAfterAnExpiryActivates(t *testing.T) {
	for name, c := range map[string]struct {
		write, expired uint64
		writeFirst     bool
		want           []string
	}{
		"after it":                   {11, 10, false, []string{"hydrate a"}},
		"after it, but seen before":  {11, 10, true, []string{"hydrate a"}},
		"before it":                  {9, 10, true, nil},
		"before it, but seen after":  {9, 10, false, nil},
		"a read after it (revision)": {0, 10, false, []string{"hydrate a"}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world) {
				w.phase("a", "active", 5)
				synctest.Wait()
				w.took()
				if c.writeFirst {
					w.Touch("a", c.write)
				}
				w.phase("a", "expired", c.expired)
				if !c.writeFirst {
					w.Touch("a", c.write)
				}
				synctest.Wait()
				if got := w.took(); !slices.Equal(got, c.want) {
					t.Errorf("sent %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestATouchDuringAnExpiryActivates: what happens while the engine expires an idle
// agent activates it again.
func TestATouchDuringAnExpiryActivates(t *testing.T) {
	for name, sign := range map[string]func(w *world){
		"write":     func(w *world) { w.Touch("a", 9) },
		"read":      func(w *world) { w.Touch("a", 0) },
		"heartbeat": func(w *world) { w.Heartbeat("a") },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world) {
				w.phase("a", "active", 5)
				time.Sleep(12 * time.Second) // the clock of the bubble
				synctest.Wait()
				if got := w.took(); !slices.Contains(got, "expire a") {
					t.Fatalf("an idle agent: sent %q", got)
				}
				time.Sleep(time.Millisecond)
				sign(w)
				w.phase("a", "expired", 10)
				synctest.Wait()
				if got := w.took(); !slices.Contains(got, "hydrate a") {
					t.Errorf("sent %q", got)
				}
			})
		})
	}
}

// TestAHydrationIsRepeated: a hydration that failed is requested again until the
// agent is active.
func TestAHydrationIsRepeated(t *testing.T) {
	run(t, func(w *world) {
		w.set(errors.New("the journal is away"))
		w.Touch("a", 3)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := w.took(); len(got) < 3 {
			t.Errorf("sent %q", got)
		}
		w.set(nil)
		time.Sleep(time.Second)
		w.phase("a", "hydrating", 4)
		w.phase("a", "active", 5)
		synctest.Wait()
		w.took()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := w.took(); slices.Contains(got, "hydrate a") {
			t.Errorf("an active agent: sent %q", got)
		}
	})
}

// TestAHeartbeatIsSeen: the heartbeat of an agent that is not active sets its
// last-seen time and hydrates nothing.
func TestAHeartbeatIsSeen(t *testing.T) {
	run(t, func(w *world) {
		w.Heartbeat("cold")
		w.Heartbeat("not an id")
		synctest.Wait()
		if w.LastSeen("cold").IsZero() || !w.LastSeen("not an id").IsZero() || len(w.took()) > 0 {
			t.Errorf("seen %s, sent %q", w.LastSeen("cold"), w.sent)
		}
		time.Sleep(2 * forgetAfter)
		if !w.LastSeen("cold").IsZero() {
			t.Error("an agent that never becomes active is remembered for ever")
		}
	})
}

// TestRowsOfActiveAgentsAreKept: the rows of an active agent are kept at its start
// and at each interval while heartbeats keep it active, and no other agent's.
func TestRowsOfActiveAgentsAreKept(t *testing.T) {
	run(t, func(w *world) {
		w.phase("a", "active", 5)
		w.phase("gone", "expired", 6)
		for range 12 {
			time.Sleep(time.Second)
			w.Heartbeat("a")
		}
		synctest.Wait()
		got := w.took()
		if len(got) < 3 || slices.ContainsFunc(got, func(s string) bool { return s != "keep a" }) {
			t.Errorf("in 12 s with an interval of 3 s: %q", got)
		}
		w.KeepAll()
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if got := w.took(); !slices.Contains(got, "keep a") {
			t.Errorf("after KeepAll: %q", got)
		}
	})
}

// TestTheClockIsSet: an agent whose heartbeats go on stays active, and its rows are kept, however
// far the clock is set; at once where it was, as rows lapse by the clock of their server.
func TestTheClockIsSet(t *testing.T) {
	for name, by := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world) {
				w.phase("a", "active", 5)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				w.took()
				w.clock.Store(int64(by))
				time.Sleep(1500 * time.Millisecond) // a sweep
				synctest.Wait()
				if got := w.took(); !slices.Equal(got, []string{"keep a"}) {
					t.Errorf("after the clock was set: %q", got)
				}
				for range 10 {
					w.Heartbeat("a")
					time.Sleep(time.Second)
				}
				synctest.Wait()
				if got := w.took(); len(got) < 2 || slices.Contains(got, "expire a") {
					t.Errorf("in the 10 s after it: %q", got)
				}
			})
		})
	}
}

// While a store is away each agent and session fails again and again; the log is not filled
// with it.
func TestFailuresAreLoggedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		away := func(context.Context, commands.Request) (commands.Receipt, error) {
			return commands.Receipt{}, errors.New("away")
		}
		a := NewActivity(nil, away, nil, slog.New(slog.NewTextHandler(&out, nil)))
		a.agents["a1"] = agentActivity{}
		for range 500 {
			a.moveAgent(t.Context(), request{aggregate: "agent", id: "a1", verb: "hydrate"})
			a.expireSession(t.Context(), request{aggregate: "session", id: "s1", verb: "expire"})
		}
		time.Sleep(time.Second)
		a.expireSession(t.Context(), request{aggregate: "session", id: "s1", verb: "expire"})
		if text := out.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "lines_left_out=999") {
			t.Error(text)
		}
	})
}
