package reactors_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/test/harness"
)

type timers map[string]time.Time

func (t timers) Set(_ context.Context, name string, at time.Time) error {
	t[name] = at
	return nil
}

// TestDue: the state of the task and the clock decide what a timer does, whichever client
// sent its message and whenever it fires.
func TestDue(t *testing.T) {
	deadline := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	far := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, c := range []struct {
		name     string
		timer    string
		status   task.Status // empty = there is no such task
		deadline time.Time
		now      time.Time
		verb     string    // of the command sent
		again    time.Time // the timer is set again
	}{
		{"started", "deadline.t1", task.Started, deadline, deadline, "fail", time.Time{}},
		{"late", "deadline.t1", task.Started, deadline, deadline.Add(time.Hour), "fail", time.Time{}},
		{"never started", "deadline.t1", task.Created, deadline, deadline, "cancel", time.Time{}},
		{"a nanosecond early", "deadline.t1", task.Started, deadline, deadline.Add(-1), "", deadline},
		{"beyond the range of the timer", "deadline.t1", task.Created, far, deadline, "", far},
		{"completed", "deadline.t1", task.Completed, deadline, deadline, "", time.Time{}},
		{"failed", "deadline.t1", task.Failed, deadline, deadline, "", time.Time{}},
		{"cancelled", "deadline.t1", task.Cancelled, deadline, deadline, "", time.Time{}},
		{"without a deadline", "deadline.t1", task.Started, time.Time{}, deadline, "", time.Time{}},
		{"no such task", "deadline.t1", "", deadline, deadline, "", time.Time{}},
		{"another timer", "other.t1", task.Started, deadline, deadline, "", time.Time{}},
		{"no id", "deadline.t1.more", task.Started, deadline, deadline, "", time.Time{}},
		{"nothing", "deadline.", task.Started, deadline, deadline, "", time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			state, err := json.Marshal(task.Task{Status: c.status, Deadline: c.deadline})
			harness.Must(t, err)
			last := func(_ context.Context, name events.AggregateName) (events.Record, bool, error) {
				if name != events.Task("t1") {
					t.Errorf("read %s", name)
				}
				return events.Record{Event: events.Event{State: state}}, c.status != "", nil
			}
			var sent []commands.Request
			send := func(_ context.Context, req commands.Request) (commands.Receipt, error) {
				sent = append(sent, req)
				return commands.Receipt{}, nil
			}
			set := timers{}
			for range 2 { // a timer may be delivered twice
				harness.Must(t, reactors.Due(t.Context(), last, set, send, func() time.Time { return c.now }, c.timer))
			}
			switch {
			case c.verb == "" && len(sent) > 0:
				t.Errorf("sent %+v", sent)
			case c.verb != "" && (len(sent) != 2 || sent[0].Verb != c.verb || sent[0].CommandID != sent[1].CommandID):
				t.Errorf("sent %+v, want %s twice under one id", sent, c.verb)
			}
			if !set[c.timer].Equal(c.again) {
				t.Errorf("set for %s, want %s", set[c.timer], c.again)
			}
		})
	}
	away := errors.New("away")
	err := reactors.Due(t.Context(), func(context.Context, events.AggregateName) (events.Record, bool, error) {
		return events.Record{}, false, away
	},
		timers{}, nil, time.Now, "deadline.t1")
	if !errors.Is(err, away) {
		t.Errorf("without the journal: %v, want a redelivery", err)
	}
}

// TestLeaseDue: a lease ends when it has run out, not before, whatever its timer says; a
// renewed one sets the timer again.
func TestLeaseDue(t *testing.T) {
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		task  task.Task
		now   time.Time
		sent  bool
		again time.Time
	}{
		"run out":         {task.Task{Status: task.Started, LeaseExpiresAt: end, Fence: 7}, end, true, time.Time{}},
		"renewed":         {task.Task{Status: task.Started, LeaseExpiresAt: end, Fence: 7}, end.Add(-1), false, end},
		"completed":       {task.Task{Status: task.Completed, Fence: 7}, end, false, time.Time{}},
		"waits again":     {task.Task{Status: task.Created, Fence: 7}, end, false, time.Time{}},
		"without a lease": {task.Task{Status: task.Started, Fence: 7, Deadline: end}, end, false, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			state, err := json.Marshal(c.task)
			harness.Must(t, err)
			rec := events.Record{Event: events.Event{Type: events.TaskStarted, ID: "t1", State: state}}
			last := func(context.Context, events.AggregateName) (events.Record, bool, error) { return rec, true, nil }
			var sent []commands.Request
			send := func(_ context.Context, req commands.Request) (commands.Receipt, error) {
				sent = append(sent, req)
				return commands.Receipt{}, nil
			}
			set := timers{}
			harness.Must(t, reactors.Due(t.Context(), last, set, send, func() time.Time { return c.now }, "lease.t1"))
			if (len(sent) == 1) != c.sent || c.sent && (sent[0].Verb != "expire" || !sent[0].Internal || string(sent[0].Body) != `{"fence":7}`) || !set["lease.t1"].Equal(c.again) {
				t.Errorf("sent %+v, set %v", sent, set)
			}
			set = timers{}
			harness.Must(t, reactors.Deadline(set).React(t.Context(), rec, nil))
			armed, err := reactors.Rearm(t.Context(), timers{}, &rec)
			if want := !c.task.LeaseExpiresAt.IsZero(); err != nil || !set["lease.t1"].Equal(c.task.LeaseExpiresAt) || armed != (want || !c.task.Deadline.IsZero() && c.task.Status == task.Started) {
				t.Errorf("after the start: %v, armed %v, %v", set, armed, err)
			}
		})
	}
}
