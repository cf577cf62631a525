package reactors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

// Prefixes of the names of the timers of tasks.
const (
	deadlineTimer = "deadline."
	leaseTimer    = "lease."
)

// Deadline sets a timer for every task that is created with a deadline, and for every
// one that is started with a lease.
func Deadline(timers Timers) Reactor {
	return Reactor{
		Name: "deadline", Types: []string{events.TaskCreated, events.TaskStarted}, Subjects: []string{"task.>"},
		React: func(ctx context.Context, rec events.Record, _ Send) error {
			var t task.Task
			if err := json.Unmarshal(rec.State, &t); err != nil {
				return err
			}
			switch {
			case rec.Type == events.TaskCreated && !t.Deadline.IsZero():
				return timers.Set(ctx, deadlineTimer+rec.ID, t.Deadline)
			case rec.Type == events.TaskStarted && !t.LeaseExpiresAt.IsZero():
				return timers.Set(ctx, leaseTimer+rec.ID, t.LeaseExpiresAt)
			}
			return nil
		},
	}
}

// Due handles a timer that fired: of a deadline it fails a started task with the reason
// "deadline", cancels one that is not started, and does not change a finished
// one; of a lease of a task or a claim it ends the lease, or waits until the end of one
// that was renewed. The aggregate and the clock decide, not the message, which any client may send: it never
// ends a task early.
func Due(ctx context.Context, last LastEvent, timers Timers, send Send, now func() time.Time, name string) error {
	if id, ok := strings.CutPrefix(name, claimTimer); ok {
		return claimDue(ctx, last, timers, send, now, id)
	}
	id, lease := strings.CutPrefix(name, leaseTimer)
	if !lease {
		var deadline bool
		if id, deadline = strings.CutPrefix(name, deadlineTimer); !deadline {
			return nil
		}
	}
	if domain.CheckID("task id", id) != nil {
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
	if lease {
		return leaseDue(ctx, timers, send, now, name, id, &t)
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
		CommandID: derivedID(t.Deadline, "deadline", id, verb, t.CreatedAt.Format(time.RFC3339Nano)),
	})
	return err
}

// leaseDue ends the lease of a task that has run out.
func leaseDue(ctx context.Context, timers Timers, send Send, now func() time.Time, timer, id string, t *task.Task) error {
	switch {
	case t.Status != task.Started || t.LeaseExpiresAt.IsZero():
		return nil
	case !t.Expired(now()):
		return timers.Set(ctx, timer, t.LeaseExpiresAt)
	}
	_, err := send(ctx, commands.Request{
		Aggregate: "task", ID: id, Verb: "expire", Internal: true, Body: fmt.Appendf(nil, `{"fence":%d}`, t.Fence),
		CommandID: derivedID(t.LeaseExpiresAt, "lease", id, strconv.FormatUint(t.Fence, 10), t.LeaseExpiresAt.Format(time.RFC3339Nano)),
	})
	return ignoreRefusal(err) // the task has changed meanwhile
}

// Timed are the patterns of the aggregates whose last events Rearm takes.
var Timed = []events.AggregateName{"task.*", "reminder.*", "claim.*"}

// Rearm sets the timers of an unfinished task or reminder, or of a held claim, again, from
// the state in its last event; set reports whether it has one. An import restores events but no timers.
func Rearm(ctx context.Context, timers Timers, rec *events.Record) (set bool, err error) {
	switch rec.Aggregate {
	case "reminder":
		return rearmReminder(ctx, timers, rec)
	case "claim":
		return rearmClaim(ctx, timers, rec)
	}
	var t task.Task
	if err := json.Unmarshal(rec.State, &t); err != nil || t.Status == task.Completed || t.Status == task.Cancelled {
		return false, nil // an unreadable state has no deadline
	}
	if !t.Deadline.IsZero() {
		set, err = true, timers.Set(ctx, deadlineTimer+rec.ID, t.Deadline)
	}
	if !t.LeaseExpiresAt.IsZero() {
		set, err = true, errors.Join(err, timers.Set(ctx, leaseTimer+rec.ID, t.LeaseExpiresAt))
	}
	return set, err
}
