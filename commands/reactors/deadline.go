package reactors

import (
	"context"
	"fmt"
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
	// Set sets a timer, or replaces it. It may fire earlier than at, when at is
	// beyond its range.
	Set(ctx context.Context, name string, at time.Time) error
}

// LastEvent returns the last event of an aggregate; ok is false if there is none.
type LastEvent func(ctx context.Context, name events.AggregateName) (rec events.Record, ok bool, err error)

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
			return timers.Set(ctx, deadlineTimer+rec.ID, d.Deadline)
		},
	}
}

// Due handles a timer that fired: it fails a started task with the reason
// "deadline", cancels one that was never started, and does not change a finished
// one. The task and the clock decide, not the message, which any client may send: it never
// ends a task early.
func Due(ctx context.Context, last LastEvent, timers Timers, send Send, now func() time.Time, name string) error {
	id, ok := strings.CutPrefix(name, deadlineTimer)
	if !ok || domain.CheckID("task id", id) != nil {
		return nil
	}
	rec, ok, err := last(ctx, events.Task(id))
	if err != nil || !ok {
		return err
	}
	var t task.Task
	if err := json.Unmarshal(rec.State, &t); err != nil {
		return fmt.Errorf("read the state of task %s: %w", id, err)
	}
	if t.Deadline.IsZero() {
		return nil
	}
	verb := map[task.Status]string{task.Created: "cancel", task.Started: "fail"}[t.Status]
	if verb == "" {
		return nil
	}
	if now().Before(t.Deadline) {
		return timers.Set(ctx, name, t.Deadline)
	}
	// After a refusal the task has changed meanwhile; the next delivery sees how.
	_, err = send(ctx, commands.Request{
		Aggregate: "task", ID: id, Verb: verb, Body: []byte(`{"reason":"deadline"}`),
		CommandID: DerivedID(t.Deadline, "deadline", id, verb, t.CreatedAt.Format(time.RFC3339Nano)),
	})
	return err
}

// Timed are the patterns of the aggregates whose last events Rearm takes.
var Timed = []events.AggregateName{"task.*", "reminder.*"}

// Rearm sets the timer of an unfinished task or reminder again, from the state in its
// last event; set reports whether it has one. An import restores events but no timers.
func Rearm(ctx context.Context, timers Timers, rec *events.Record) (set bool, err error) {
	if rec.Aggregate == "reminder" {
		return rearmReminder(ctx, timers, rec)
	}
	var t task.Task
	if err := json.Unmarshal(rec.State, &t); err != nil || t.Deadline.IsZero() || t.Status == task.Completed || t.Status == task.Cancelled {
		return false, nil // an unreadable state has no deadline
	}
	return true, timers.Set(ctx, deadlineTimer+rec.ID, t.Deadline)
}
