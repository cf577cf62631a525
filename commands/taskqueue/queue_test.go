package taskqueue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/taskqueue"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// world is a queue over tasks in memory; the clock is the bubble's.
type world struct {
	*taskqueue.Queue
	t *testing.T

	mu       sync.Mutex
	tasks    map[string]string // state by id
	claimed  []string
	claims   map[string]string // command ids of claims by task
	refuse   error             // of the next claim
	revoked  bool              // no one may claim
	loads    int
	ahead    []string // tasks that were preloaded
	revision uint64
}

func run(t *testing.T, bytes int, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, tasks: map[string]string{}, claims: map[string]string{}}
		w.Queue = taskqueue.New(taskqueue.Config{
			Claim: w.claim, Now: time.Now, Bytes: bytes, Log: slog.New(slog.DiscardHandler),
			CaughtUp: func(context.Context) error { return nil },
			Permit: func(context.Context) (commands.Condition, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.revoked {
					return nil, domain.Errorf(domain.Forbidden, "forbidden", "revoked")
				}
				return nil, nil
			},
			Preload: func(_ context.Context, id string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.ahead = append(w.ahead, id)
			},
			Load: func(_ context.Context, yield func(*events.Record)) error {
				w.mu.Lock()
				w.loads++
				var all []events.Record
				for id, state := range w.tasks {
					all = append(all, events.Record{Event: events.Event{Aggregate: "task", ID: id, State: []byte(state)}, Revision: 1})
				}
				w.mu.Unlock()
				for i := range all {
					yield(&all[i])
				}
				return nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		test(w)
		cancel()
		running.Wait()
	})
}

// create adds a task that more describes further.
func (w *world) create(id, more string) {
	if more != "" {
		more = "," + more
	}
	w.set(id, fmt.Sprintf(`{"status":"created","kind":"k","created_at":%q%s}`, time.Now().Format(time.RFC3339Nano), more))
}

func (w *world) set(id, state string) {
	w.mu.Lock()
	w.revision++
	w.tasks[id] = state
	revision := w.revision
	w.mu.Unlock()
	w.Changed(id, []byte(state), revision)
}

func (w *world) claim(_ context.Context, req commands.Request) (commands.Receipt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refuse; err != nil {
		w.refuse = nil
		return commands.Receipt{}, err
	}
	state, replayed := w.tasks[req.ID], w.claims[req.CommandID] == req.ID
	if !replayed && !strings.Contains(state, `"created"`) {
		return commands.Receipt{}, domain.Errorf(domain.Rejected, "task.not_claimable", "not")
	}
	w.revision++
	w.tasks[req.ID], w.claims[req.CommandID] = `{"status":"started"}`, req.ID
	w.claimed = append(w.claimed, req.ID)
	return commands.Receipt{ID: req.ID, Revision: w.revision, Replayed: replayed, Outcome: domain.Accepted}, nil
}

// next asks for a task and returns its id, or the code of the error.
func (w *world) next(agent, kind string, wait time.Duration) string {
	return w.again("", agent, kind, wait)
}

func (w *world) again(id, agent, kind string, wait time.Duration) string {
	body := fmt.Sprintf(`{"agent_id":%q,"wait_ms":%d`, agent, wait.Milliseconds())
	if kind != "" {
		body += fmt.Sprintf(`,"kind":%q`, kind)
	}
	r, err := w.Next(w.t.Context(), id, []byte(body+"}"))
	var known *domain.Error
	switch {
	case errors.As(err, &known):
		return known.Code
	case err != nil:
		return err.Error()
	}
	return r.ID
}

func (w *world) wantAll(agent, kind string, want ...string) {
	w.t.Helper()
	var got []string
	for range want {
		got = append(got, w.next(agent, kind, 0))
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%s of kind %q gets %q, want %q", agent, kind, got, want)
	}
}

// TestOrder: the highest priority first, then the oldest, of those for the agent and for
// none; and of one kind.
func TestOrder(t *testing.T) {
	run(t, 0, func(w *world) {
		for _, c := range [][2]string{
			{"old", ``}, {"low", `"priority":1`}, {"high", `"priority":9`}, {"high2", `"priority":9,"kind":"other"`}, {"mine", `"agent_id":"a","priority":5`},
			{"theirs", `"agent_id":"b","priority":10`}, {"late", ``}, {"done", `"x":1`},
		} {
			time.Sleep(time.Millisecond)
			w.create(c[0], strings.Replace(c[1], `"kind":"other"`, `"k":1`, 1))
		}
		w.set("other", `{"status":"created","kind":"other","priority":10,"created_at":"2026-01-01T00:00:00Z"}`)
		w.set("done", `{"status":"completed"}`)
		w.wantAll("a", "k", "high", "high2", "mine", "low")
		w.wantAll("a", "", "other", "old", "late", "task.none")
		w.wantAll("b", "other", "task.none")
		w.wantAll("b", "k", "theirs", "task.none")
	})
}

// TestPreload: while a task is claimed, the one that the agent gets next is prepared, once.
func TestPreload(t *testing.T) {
	run(t, 0, func(w *world) {
		w.create("t1", `"priority":9`)
		w.create("t2", "")
		w.create("theirs", `"priority":10,"agent_id":"b"`)
		w.refuse = domain.Errorf(domain.Unavailable, "journal.unavailable", "away")
		w.wantAll("a", "", "journal.unavailable", "t1", "t2", "task.none")
		synctest.Wait()
		if !slices.Equal(w.ahead, []string{"t2"}) {
			t.Errorf("preloaded: %q", w.ahead)
		}
	})
}

// TestStartFromTheJournal: what waited before the start is found, and a command id that has
// claimed a task gets it again.
func TestStartFromTheJournal(t *testing.T) {
	run(t, 0, func(w *world) {
		w.mu.Lock()
		w.tasks["t1"] = `{"status":"created","kind":"k"}`
		w.tasks["t2"] = fmt.Sprintf(`{"status":"started","kind":"k","agent_id":"a","claim_id":"mine","started_at":%q}`, time.Now().Format(time.RFC3339Nano))
		w.claims["mine"] = "t2"
		w.mu.Unlock()
		w.Reload()
		if got := w.again("mine", "a", "", 0); got != "t2" {
			t.Errorf("again: %s", got)
		}
		w.wantAll("a", "", "t1", "task.none")
	})
}

// TestWaiting: a request waits for a task, for a backoff and no longer than it says, and
// of two agents the one that was served less recently is given the task.
func TestWaiting(t *testing.T) {
	run(t, 0, func(w *world) {
		type answer struct {
			agent, task string
			after       time.Duration
		}
		answers := make(chan answer, 8)
		begin := time.Now()
		ask := func(agent string) {
			go func() {
				got := w.next(agent, "k", time.Minute)
				answers <- answer{agent, got, time.Since(begin)}
			}()
			synctest.Wait()
		}
		give := func(id, more string, want answer) {
			t.Helper()
			w.create(id, more)
			if got := <-answers; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		ask("a")
		ask("a")
		ask("b")
		give("t1", "", answer{"a", "t1", 0})
		ask("a")
		give("t2", "", answer{"b", "t2", 0})
		give("t3", "", answer{"a", "t3", 0})
		give("t4", fmt.Sprintf(`"not_before":%q`, begin.Add(30*time.Second).Format(time.RFC3339Nano)), answer{"a", "t4", 30 * time.Second})
		if got := w.next("a", "k", 5*time.Second); got != "task.none" || time.Since(begin) != 35*time.Second {
			t.Errorf("%s after %s", got, time.Since(begin))
		}
	})
}

// TestSendersThatAreGone: a task is not given to a request whose sender is no longer
// connected; one that has sent the same command id with a new connection gets it.
func TestSendersThatAreGone(t *testing.T) {
	run(t, 0, func(w *world) {
		got := make(chan string, 3)
		ask := func(id, agent string, connected bool) {
			ctx := commands.WithConnected(w.t.Context(), func() bool { return connected })
			go func() {
				r, err := w.Next(ctx, id, []byte(`{"wait_ms":60000,"agent_id":"`+agent+`"}`))
				if err != nil {
					r.ID = err.Error()
				}
				got <- agent + " " + r.ID
			}()
			synctest.Wait()
		}
		ask("", "gone", false)
		ask("", "here", true)
		w.create("t1", "")
		if answer := <-got; answer != "here t1" {
			t.Errorf("%s", answer)
		}
		w.create("t2", "")
		w.wantAll("late", "", "t2", "task.none")
		ask("id", "back", false)
		ask("id", "back", true)
		w.create("t3", "")
		if a, b := <-got, <-got; a != "back t3" || b != "back t3" {
			t.Errorf("%s and %s", a, b)
		}
		if answer := <-got; !strings.HasSuffix(answer, "no task waits for gone") {
			t.Errorf("%s", answer)
		}
	})
}

// TestTheSameID: two requests under way with one command id get one task, and so does a
// later one; one that is too old to be known is refused.
func TestTheSameID(t *testing.T) {
	run(t, 0, func(w *world) {
		got := make(chan string, 2)
		for range 2 {
			go func() { got <- w.again("id", "a", "", time.Minute) }()
		}
		synctest.Wait()
		w.create("t1", "")
		w.create("t2", "")
		if a, b := <-got, <-got; a != "t1" || b != "t1" {
			t.Errorf("%s and %s", a, b)
		}
		w.wantAll("a", "", "t2", "task.none")
		old := harness.NewID()
		time.Sleep(11 * time.Minute)
		w.create("t3", "")
		if got := w.again(old, "a", "", 0); got != "command.too_old" {
			t.Errorf("an old id: %s", got)
		}
	})
}

// TestIDsAreOfAgents: an id that another agent has claimed with is another id.
func TestIDsAreOfAgents(t *testing.T) {
	run(t, 0, func(w *world) {
		w.claims["id"] = "t1"
		w.set("t1", fmt.Sprintf(`{"status":"started","kind":"k","agent_id":"a","claim_id":"id","started_at":%q}`, time.Now().Format(time.RFC3339Nano)))
		w.create("t2", "")
		if got := w.again("id", "a", "", 0); got != "t1" {
			t.Errorf("the id of its agent: %s", got)
		}
		if got := w.again("id", "b", "", 0); got != "t2" {
			t.Errorf("the id of another agent: %s", got)
		}
	})
}

// TestRightsThatEndWhileARequestWaits: the task that comes then is for others.
func TestRightsThatEndWhileARequestWaits(t *testing.T) {
	run(t, 0, func(w *world) {
		got := make(chan string, 1)
		go func() { got <- w.next("a", "", time.Minute) }()
		synctest.Wait()
		w.mu.Lock()
		w.revoked = true
		w.mu.Unlock()
		w.create("t1", "")
		if code := <-got; code != "forbidden" {
			t.Errorf("%s", code)
		}
		w.mu.Lock()
		w.revoked = false
		w.mu.Unlock()
		w.wantAll("b", "", "t1", "task.none")
	})
}

// TestClaimsThatFail: a task that another engine took is passed over, one that could not
// be claimed for want of the journal stays.
func TestClaimsThatFail(t *testing.T) {
	run(t, 0, func(w *world) {
		w.create("t1", "")
		time.Sleep(time.Millisecond)
		w.create("t2", "")
		w.refuse = domain.Errorf(domain.Unavailable, "journal.unavailable", "away")
		w.wantAll("a", "", "journal.unavailable", "t1")
		w.refuse = domain.Errorf(domain.Rejected, "task.not_claimable", "taken")
		w.wantAll("a", "", "task.none")
		w.create("t3", "")
		w.refuse = &commands.ClaimedElsewhere{Task: "t2"}
		w.wantAll("a", "", "t2", "t3", "task.none")
	})
}

// TestMoreTasksThanRoom: what the index left out is read from the journal when it is empty,
// and no kind is left out for another one.
func TestMoreTasksThanRoom(t *testing.T) {
	run(t, 20_000, func(w *world) {
		for i := range 500 {
			w.create(fmt.Sprintf("t%03d", i), fmt.Sprintf(`"priority":%d`, i%10+1))
		}
		w.set("rare", `{"status":"created","kind":"rare"}`)
		if n, _ := w.Waiting(); n > 100 {
			t.Errorf("%d tasks are in memory", n)
		}
		w.wantAll("a", "rare", "rare", "task.none")
		seen := map[string]bool{}
		for range 500 {
			seen[w.next("a", "k", 0)] = true
		}
		if len(seen) != 500 || seen["task.none"] {
			t.Errorf("%d different answers: %v", len(seen), seen["task.none"])
		}
		w.wantAll("a", "", "task.none")
		if w.loads > 60 {
			t.Errorf("%d loads", w.loads)
		}
	})
}
