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

// Timers are durable: a timer fires once, also after restarts.
type Timers interface {
	Set(ctx context.Context, name string, at time.Time, body []byte) error
}

// deadlineTimer is the prefix of the names of task deadline timers.
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
			return setDeadline(ctx, timers, &rec, d.Deadline)
		},
	}
}

func setDeadline(ctx context.Context, timers Timers, rec *events.Record, at time.Time) error {
	return timers.Set(ctx, deadlineTimer+rec.ID, at, []byte(CommandID("deadline", rec)))
}

// Due handles a timer that fired: it fails a started task with the reason
// "deadline", cancels one that was never started, and leaves a finished one
// alone. id is the command id stored with the timer.
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
	return ignoreRefusal(err)
}

// Rearm sets the timer of an unfinished task again, from the state in its last
// event. An import restores events but no timers.
func Rearm(ctx context.Context, timers Timers, rec *events.Record) error {
	var t task.Task
	if err := json.Unmarshal(rec.State, &t); err != nil || t.Deadline.IsZero() || t.Status == task.Completed || t.Status == task.Cancelled {
		return nil // an unreadable state has no deadline
	}
	return setDeadline(ctx, timers, rec, t.Deadline)
}
