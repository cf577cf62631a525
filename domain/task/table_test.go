package task_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

// TestEveryTransition takes the contract's table: each command in each status.
func TestEveryTransition(t *testing.T) {
	commands := []task.Command{
		{ID: "t", Type: events.TaskCreated, Data: events.TaskCreate{Kind: "k"}},
		{ID: "t", Type: events.TaskStarted, Data: events.TaskStart{AgentID: "a"}, Who: "a"},
		{ID: "t", Type: events.TaskStarted, Data: events.TaskStart{AgentID: "b"}, Who: "b"},
		{ID: "t", Type: events.TaskProgressed, Data: events.TaskProgress{Note: "n"}},
		{ID: "t", Type: events.TaskCompleted, Data: events.TaskComplete{}},
		{ID: "t", Type: events.TaskFailed, Data: events.TaskEnd{Reason: "r"}},
		{ID: "t", Type: events.TaskCancelled, Data: events.TaskEnd{}},
	}
	const is = "unchanged"
	for from, want := range map[task.Status][7]string{ // in the order of the commands
		"":             {"created", "task.not_found", "task.not_found", "task.not_found", "task.not_found", "task.not_found", "task.not_found"},
		task.Created:   {"task.exists", "started", "started", "task.not_started", "task.not_started", "task.not_started", "cancelled"},
		task.Started:   {"task.exists", is, "task.not_startable", "started", "completed", "failed", "cancelled"},
		task.Failed:    {"task.exists", "started", "started", "task.not_started", "task.not_started", is, "task.not_cancellable"},
		task.Completed: {"task.exists", "task.not_startable", "task.not_startable", "task.not_started", is, "task.not_started", "task.not_cancellable"},
		task.Cancelled: {"task.exists", "task.not_startable", "task.not_startable", "task.not_started", "task.not_started", "task.not_started", is},
	} {
		state := task.Task{Status: from}
		if from != "" {
			state.Kind, state.AgentID = "k", "a"
		}
		if from == task.Failed {
			state.Reason = "r"
		}
		for i, c := range commands {
			d := task.Decide(state, c, domain.Metadata{Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CommandID: "c"})
			got := string(d.Outcome)
			switch {
			case d.Refusal != nil:
				got = d.Refusal.Code
				if d.Refusal.Kind != domain.Rejected && d.Refusal.Kind != domain.NotFound {
					t.Errorf("%q and %s: refused as %s", from, c.Type, d.Refusal.Kind)
				}
			case len(d.Events) == 1:
				after, err := domain.CarriedState[task.Task](&d.Events[0])
				if err != nil {
					t.Fatal(err)
				}
				got = string(after.Status)
			}
			if got != want[i] {
				t.Errorf("%q and %s by %q: %s, want %s", from, c.Type, c.Who, got, want[i])
			}
		}
	}
}

// TestRepeatedEndsAreComparedAsJSON: the same end again changes nothing, an end with
// other content is refused.
func TestRepeatedEndsAreComparedAsJSON(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	meta := domain.Metadata{Now: now, CommandID: "c"}
	complete := func(result string) task.Command {
		d := events.TaskComplete{}
		if result != "" {
			d.Result = []byte(result)
		}
		return task.Command{ID: "t", Type: events.TaskCompleted, Data: d}
	}
	end := func(typ, reason, detail string) task.Command {
		return task.Command{ID: "t", Type: typ, Data: events.TaskEnd{Reason: reason, Detail: detail}}
	}
	for _, c := range []struct {
		first        task.Command
		same, others []task.Command
	}{
		{complete(`{"a":1.50,"b":[1,2]}`), []task.Command{complete(`{"a":1.50,"b":[1,2]}`), complete(` {"b":[ 1,2 ], "\u0061":1.50}`)}, []task.Command{complete(`{"a":1.51,"b":[1,2]}`), complete(`{"a":1.50,"b":[2,1]}`), complete(``), complete(`null`)}},
		{complete(``), []task.Command{complete(``)}, []task.Command{complete(`null`), complete(`{}`)}},
		{complete(`null`), []task.Command{complete(` null`)}, []task.Command{complete(``), complete(`{}`)}},
		{complete(`{ }`), []task.Command{complete(`{}`)}, []task.Command{complete(``), complete(`[]`)}},
		{complete(`[]`), []task.Command{complete(`[]`)}, []task.Command{complete(``), complete(`""`)}},
		{complete(`""`), []task.Command{complete(`""`)}, []task.Command{complete(``), complete(`null`)}},
		{end(events.TaskFailed, "r", "d"), []task.Command{end(events.TaskFailed, "r", "d")}, []task.Command{end(events.TaskFailed, "r", ""), end(events.TaskFailed, "s", "d")}},
		{end(events.TaskCancelled, "", ""), []task.Command{end(events.TaskCancelled, "", "")}, []task.Command{end(events.TaskCancelled, "r", "")}},
	} {
		d := task.Decide(task.Task{Status: task.Started, Kind: "k", AgentID: "a"}, c.first, meta)
		after, err := domain.CarriedState[task.Task](&d.Events[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, again := range c.same {
			if d := task.Decide(after, again, meta); d.Outcome != domain.Unchanged || d.Refusal != nil {
				t.Errorf("%+v after %+v: %+v", again, c.first, d)
			}
		}
		for _, other := range c.others {
			if d := task.Decide(after, other, meta); d.Refusal == nil || d.Refusal.Kind != domain.Rejected ||
				!strings.HasPrefix(d.Refusal.Code, "task.already_") || len(d.Events) > 0 {
				t.Errorf("%+v after %+v: %+v", other, c.first, d)
			}
		}
	}
}

// TestDeadlines: one that is not ahead is refused, but not for a task that exists.
func TestDeadlines(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	create := func(deadline time.Time) task.Command {
		return task.Command{ID: "t", Type: events.TaskCreated, Data: events.TaskCreate{Kind: "k", Deadline: deadline}}
	}
	for deadline, want := range map[time.Time]string{
		now: "deadline.past", now.Add(-1): "deadline.past", now.Add(1): "", {}: "",
		time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC): "",
	} {
		d := task.Decide(task.Task{}, create(deadline), domain.Metadata{Now: now})
		if got := d.Refusal; want == "" && got != nil || want != "" && (got == nil || got.Code != want || got.Kind != domain.Invalid) {
			t.Errorf("deadline %s: %v", deadline, got)
		}
	}
	if d := task.Decide(task.Task{Status: task.Created}, create(now), domain.Metadata{Now: now}); d.Refusal == nil || d.Refusal.Code != "task.exists" {
		t.Errorf("a task that exists: %+v", d)
	}
}
