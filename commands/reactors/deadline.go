package reactors

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

// Timers are durable: what is set is due once, after any number of restarts.
type Timers interface {
	Set(ctx context.Context, name string, at time.Time, body []byte) error
}

// deadlineTimer begins the name of a task's timer.
const deadlineTimer = "deadline."

// Deadline sets a timer for every task that is created with a deadline.
func Deadline(timers Timers) Reactor {
	return Reactor{
		Name: "deadline", Types: []string{events.TaskCreated}, Subjects: []string{"task.>"},
		React: func(ctx context.Context, rec events.Record, _ Send) error {
			var d events.TaskCreate
			if err := json.Unmarshal(rec.Data, &d); err != nil || d.Deadline.IsZero() {
				return err
			}
			return timers.Set(ctx, deadlineTimer+rec.ID, d.Deadline, []byte(CommandID("deadline", &rec)))
		},
	}
}

// Due carries out what a timer was set for: a task that is being worked on
// fails with the reason deadline, one that nobody has started is cancelled with
// it, one that has ended stays. id is the command id that was set with it.
func Due(ctx context.Context, send Send, name, id string) error {
	task, ok := strings.CutPrefix(name, deadlineTimer)
	if !ok {
		return nil
	}
	_, err := send(ctx, commands.Request{
		Aggregate: "task", ID: task, Verb: "fail", CommandID: id, Body: []byte(`{"reason":"deadline"}`),
	})
	var known *domain.Error
	if errors.As(err, &known) && known.Code == "task.not_started" {
		_, err = send(ctx, commands.Request{
			Aggregate: "task", ID: task, Verb: "cancel", CommandID: id + "-c", Body: []byte(`{"reason":"deadline"}`),
		})
	}
	return settled(err)
}

// Rearm sets the timer of a task from its last event, where it has a deadline
// and may still miss it: after an import timers must be set anew.
func Rearm(ctx context.Context, timers Timers, rec *events.Record) error {
	var t task.Task
	if err := json.Unmarshal(rec.State, &t); err != nil || t.Deadline.IsZero() || t.Status == task.Completed || t.Status == task.Cancelled {
		return nil // a state that cannot be read has no deadline that could be kept
	}
	return timers.Set(ctx, deadlineTimer+rec.ID, t.Deadline, []byte(CommandID("deadline", rec)))
}
