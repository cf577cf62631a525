package task_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// life is a task with its events.
type life struct {
	t       *testing.T
	state   task.Task
	version uint64
	types   []string
}

// do decides a command some seconds after the start and returns the code of its refusal,
// or its outcome.
func (l *life) do(seconds float64, c task.Command) string {
	l.t.Helper()
	c.ID = "t"
	d := task.Decide(l.state, c, domain.Metadata{Now: start.Add(time.Duration(seconds * float64(time.Second))), CommandID: "c", Version: l.version})
	if d.Refusal != nil {
		return d.Refusal.Code
	}
	for i := range d.Events {
		l.version++
		l.types = append(l.types, d.Events[i].Type)
		var err error
		if l.state, err = domain.CarriedState[task.Task](&d.Events[i]); err != nil {
			l.t.Fatal(err)
		}
	}
	return string(d.Outcome)
}

func (l *life) want(what, got, want string) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s: %s, want %s; the task is %+v", what, got, want, l.state)
	}
}

func create(d events.TaskCreate) task.Command {
	d.Kind = "k"
	return task.Command{Type: events.TaskCreated, Data: d}
}

func claim(who string, leaseMS int64) task.Command {
	return task.Command{Type: events.TaskStarted, Data: events.TaskStart{AgentID: who, LeaseMS: leaseMS}, Who: who, Claim: true}
}

func held(typ string, data any, holder string, fence uint64) task.Command {
	return task.Command{Type: typ, Data: data, Holder: holder, Fence: &fence}
}

func expire(fence uint64) task.Command {
	return held(events.TaskLeaseExpired, events.TaskLeaseExpire{}, "", fence)
}

// TestALeaseRunsOut: the holder renews it with progress; when it has run out another agent
// may claim the task, and what the first one still reports is refused.
func TestALeaseRunsOut(t *testing.T) {
	l := &life{t: t}
	l.want("create", l.do(0, create(events.TaskCreate{})), "accepted")
	l.want("claim", l.do(0, claim("a", 10_000)), "accepted")
	l.want("another claim", l.do(1, claim("b", 10_000)), "task.not_claimable")
	l.want("a claim by the holder", l.do(1, claim("a", 10_000)), "task.not_claimable")
	l.want("progress", l.do(9, held(events.TaskProgressed, events.TaskProgress{Note: "n"}, "a", 2)), "accepted")
	l.want("progress with another fence", l.do(9, held(events.TaskProgressed, events.TaskProgress{}, "a", 1)), "task.fenced")
	l.want("progress of another agent", l.do(9, task.Command{Type: events.TaskProgressed, Data: events.TaskProgress{}, Holder: "b"}), "task.fenced")
	l.want("an early end", l.do(18.9, expire(2)), "task.lease_held")
	l.want("an end of another lease", l.do(20, expire(1)), "task.lease_held")
	l.want("a claim of an expired lease", l.do(19, claim("b", 10_000)), "accepted")
	if l.state.AgentID != "b" || l.state.Fence != 5 || l.version != 5 || l.state.Attempts != 2 || l.state.Note != "" {
		t.Errorf("%+v at %d", l.state, l.version)
	}
	l.want("a late completion", l.do(19, held(events.TaskCompleted, events.TaskComplete{}, "a", 2)), "task.fenced")
	l.want("the end", l.do(29, expire(5)), "accepted")
	if l.state.Status != task.Created || l.state.AgentID != "" || l.state.Reason != task.LeaseExpired || !l.state.LeaseExpiresAt.IsZero() {
		t.Errorf("%+v", l.state)
	}
	l.want("a late completion of a task without a holder", l.do(29, held(events.TaskCompleted, events.TaskComplete{}, "b", 5)), "task.fenced")
	l.want("a claim", l.do(30, claim("a", 1)), "accepted")
	l.want("a completion by the holder, late but first", l.do(40, held(events.TaskCompleted, events.TaskComplete{Result: []byte("1")}, "a", 7)), "accepted")
	l.want("again", l.do(41, held(events.TaskCompleted, events.TaskComplete{Result: []byte("1")}, "a", 7)), "unchanged")
	l.want("by another", l.do(41, held(events.TaskCompleted, events.TaskComplete{Result: []byte("1")}, "b", 5)), "task.fenced")
	l.want("with other content", l.do(41, held(events.TaskCompleted, events.TaskComplete{}, "a", 7)), "task.already_completed")
	l.want("claim", l.do(42, claim("a", 1)), "task.not_claimable")
	if want := []string{events.TaskCreated, events.TaskStarted, events.TaskProgressed, events.TaskLeaseExpired, events.TaskStarted, events.TaskLeaseExpired, events.TaskStarted, events.TaskCompleted}; !slices.Equal(l.types, want) {
		t.Errorf("%q", l.types)
	}
}

// TestRetry: failures and lost leases count as attempts; a failure waits for the backoff.
func TestRetry(t *testing.T) {
	boom := events.TaskEnd{Reason: "boom", Detail: "d"}
	l := &life{t: t}
	l.do(0, create(events.TaskCreate{AgentID: "a", Retry: &events.TaskRetry{MaxAttempts: 3, BackoffMS: 5000}}))
	l.want("a claim by another agent", l.do(0, claim("b", 1000)), "task.not_claimable")
	l.want("claim", l.do(0, claim("a", 1000)), "accepted")
	l.want("fail", l.do(0, held(events.TaskFailed, boom, "a", 2)), "accepted")
	if l.state.Status != task.Created || l.state.Reason != "boom" || l.state.Detail != "" || l.state.AgentID != "a" || !l.state.FinishedAt.IsZero() {
		t.Errorf("%+v", l.state)
	}
	l.want("fail again", l.do(0, held(events.TaskFailed, boom, "a", 2)), "unchanged")
	for name, c := range map[string]struct {
		end    events.TaskEnd
		holder string
		fence  uint64
		want   string
	}{
		"with another detail":                 {events.TaskEnd{Reason: "boom", Detail: "e"}, "a", 2, "task.already_failed"},
		"without its detail":                  {events.TaskEnd{Reason: "boom"}, "a", 2, "task.already_failed"},
		"with another reason":                 {events.TaskEnd{Reason: "bang", Detail: "d"}, "a", 2, "task.already_failed"},
		"with another reason, from any agent": {events.TaskEnd{Reason: "bang", Detail: "d"}, "", 0, "task.already_failed"},
		"again, from any agent":               {boom, "", 0, "unchanged"},
		"again, by its agent":                 {boom, "a", 0, "unchanged"},
		"again, by another agent":             {boom, "b", 0, "task.fenced"},
		"again, with another fence":           {boom, "a", 1, "task.fenced"},
	} {
		fail := task.Command{Type: events.TaskFailed, Data: c.end, Holder: c.holder}
		if c.fence > 0 {
			fail.Fence = &c.fence
		}
		l.want("fail "+name, l.do(0, fail), c.want)
	}
	l.want("complete", l.do(0, held(events.TaskCompleted, events.TaskComplete{}, "a", 2)), "task.fenced")
	l.want("an early claim", l.do(4.9, claim("a", 1000)), "task.not_claimable")
	l.want("claim", l.do(5, claim("a", 1000)), "accepted")
	l.want("the end of the lease", l.do(6, expire(5)), "accepted")
	l.want("a failure of the attempt whose lease ran out", l.do(6, held(events.TaskFailed, events.TaskEnd{Reason: task.LeaseExpired}, "a", 5)), "task.fenced")
	l.want("the same without a fence", l.do(6, task.Command{Type: events.TaskFailed, Data: events.TaskEnd{Reason: task.LeaseExpired}}), "task.not_started")
	l.want("claim", l.do(6, claim("a", 1000)), "accepted")
	l.want("the third failure", l.do(6, held(events.TaskFailed, boom, "a", 7)), "accepted")
	if l.state.Status != task.Failed || l.state.Detail != "d" || l.state.Attempts != 3 {
		t.Errorf("%+v", l.state)
	}
	l.want("again", l.do(6, held(events.TaskFailed, boom, "a", 7)), "unchanged")

	l = &life{t: t}
	l.do(0, create(events.TaskCreate{Retry: &events.TaskRetry{MaxAttempts: 1}}))
	l.do(0, claim("a", 1000))
	l.want("a claim without an attempt left", l.do(2, claim("b", 1000)), "task.not_claimable")
	l.want("the end of the last lease", l.do(2, expire(2)), "accepted")
	if l.state.Status != task.Failed || l.state.Reason != task.LeaseExpired || l.state.FinishedAt.IsZero() {
		t.Errorf("%+v", l.state)
	}

	l = &life{t: t}
	l.do(0, create(events.TaskCreate{Deadline: start.Add(10 * time.Second), Retry: &events.TaskRetry{MaxAttempts: 9}}))
	l.do(0, claim("a", 1000))
	l.want("a failure after the deadline", l.do(10, task.Command{Type: events.TaskFailed, Data: events.TaskEnd{Reason: "deadline"}}), "accepted")
	if l.state.Status != task.Failed {
		t.Errorf("%+v", l.state)
	}
}

// TestStartsHaveNoLease: a start as before leases never expires, and needs no fence.
func TestStartsHaveNoLease(t *testing.T) {
	l := &life{t: t}
	l.do(0, create(events.TaskCreate{}))
	l.want("start", l.do(0, task.Command{Type: events.TaskStarted, Data: events.TaskStart{AgentID: "a"}, Who: "a"}), "accepted")
	l.want("a claim", l.do(1e9, claim("b", 1)), "task.not_claimable")
	l.want("the end of a lease", l.do(1e9, expire(2)), "task.lease_held")
	l.want("complete", l.do(1e9, task.Command{Type: events.TaskCompleted, Data: events.TaskComplete{}}), "accepted")
}

// TestOldEventsFoldAsBefore: the state after events of builds without leases has none of
// the new members.
func TestOldEventsFoldAsBefore(t *testing.T) {
	var s task.Task
	for i, ev := range []events.Event{
		{Type: events.TaskCreated, Data: []byte(`{"kind":"k","agent_id":"a","request":"r"}`)},
		{Type: events.TaskStarted, Data: []byte(`{"agent_id":"b","request":"r"}`)},
		{Type: events.TaskProgressed, Data: []byte(`{"percent":5,"request":"r"}`)},
		{Type: events.TaskFailed, Data: []byte(`{"reason":"r","request":"r"}`)},
	} {
		ev.Timestamp = start.Add(time.Duration(i) * time.Second)
		var err error
		if s, err = task.Evolve(s, &ev); err != nil {
			t.Fatal(err)
		}
	}
	got, err := domain.Encode(s)
	const want = `{"status":"failed","kind":"k","agent_id":"b","attempts":1,"percent":5,"reason":"r","created_at":"2026-01-02T03:04:05Z","started_at":"2026-01-02T03:04:06Z","finished_at":"2026-01-02T03:04:08Z"}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

// TestOneHolder: whatever happens, of those who name their fence at most one is accepted
// for a start, and each start has a higher fence.
func TestOneHolder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s task.Task
		var version, fence uint64
		for range rapid.IntRange(1, 30).Draw(t, "commands") {
			meta := domaintest.Metadata(t)
			meta.Version = version
			c := draw(t)
			d := task.Decide(s, c, meta)
			if c.Fence != nil && c.Type != events.TaskLeaseExpired && d.Outcome == domain.Accepted && s.Attempts > 0 && (*c.Fence != s.Fence || s.Status != task.Started) {
				t.Fatalf("%+v was accepted in %+v", c, s)
			}
			for i := range d.Events {
				version++
				var err error
				if s, err = domain.CarriedState[task.Task](&d.Events[i]); err != nil {
					t.Fatal(err)
				}
				if d.Events[i].Type == events.TaskStarted {
					if s.Fence != version || s.Fence <= fence {
						t.Fatalf("fence %d after %d at version %d", s.Fence, fence, version)
					}
					fence = s.Fence
				}
			}
		}
	})
}
