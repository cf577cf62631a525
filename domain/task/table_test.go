package task_test

import (
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
