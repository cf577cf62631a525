package task

import (
	"bytes"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Command is a command on a task.
type Command struct {
	ID   string
	Type string // of the event it leads to
	Data any    // one of the data structs in events
	Who  string // agent that starts it; empty for other commands
}

// transitions are the statuses that each event may follow, and the code of the
// refusal in others.
var transitions = map[string]struct {
	from    []Status
	refusal string
}{
	events.TaskCreated:    {[]Status{""}, "task.exists"},
	events.TaskStarted:    {[]Status{Created, Failed}, "task.not_startable"},
	events.TaskProgressed: {[]Status{Started}, "task.not_started"},
	events.TaskCompleted:  {[]Status{Started}, "task.not_started"},
	events.TaskFailed:     {[]Status{Started}, "task.not_started"},
	events.TaskCancelled:  {[]Status{Created, Started}, "task.not_cancellable"},
}

// endIn is the status in which a command for an event was already carried out.
var endIn = map[string]Status{
	events.TaskCompleted: Completed,
	events.TaskFailed:    Failed,
	events.TaskCancelled: Cancelled,
}

// Decide decides a command: 404 task.not_found before the task is created, 422 if
// the table has no such transition. A task that already ended in this way, with the
// same content, is unchanged; with other content the command is refused: 422
// task.already_completed, task.already_failed or task.already_cancelled. A deadline
// that is not ahead is 400 deadline.past.
func Decide(t Task, c Command, meta domain.Metadata) domain.Decision {
	rule := transitions[c.Type]
	if t.Status == "" && c.Type != events.TaskCreated {
		return domain.Refuse(domain.Errorf(domain.NotFound, "task.not_found", "there is no task %s", c.ID))
	}
	if c.Type == events.TaskStarted && t.Status == Started && t.AgentID == c.Who {
		return domain.Decision{Outcome: domain.Unchanged}
	}
	if end, ok := endIn[c.Type]; ok && t.Status == end {
		if t.endedWith(c.Data) {
			return domain.Decision{Outcome: domain.Unchanged}
		}
		return domain.Refuse(domain.Errorf(domain.Rejected, "task.already_"+string(end),
			"task %s is already %s, with other content", c.ID, end).With("status", string(end)))
	}
	if d, ok := c.Data.(events.TaskCreate); ok && t.Status == "" && !d.Deadline.IsZero() && !d.Deadline.After(meta.Now) {
		return domain.Refuse(domain.Errorf(domain.Invalid, "deadline.past", "deadline %s is not ahead of the engine's %s",
			d.Deadline.Format(time.RFC3339Nano), meta.Now.Format(time.RFC3339Nano)))
	}
	for _, from := range rule.from {
		if t.Status == from {
			return t.event(c, meta)
		}
	}
	return domain.Refuse(domain.Errorf(domain.Rejected, rule.refusal, "task %s is %s: %s cannot follow", c.ID, t.Status, c.Type).
		With("status", string(t.Status)))
}

// endedWith reports whether the task ended with the content of data.
func (t Task) endedWith(data any) bool {
	switch d := data.(type) {
	case events.TaskComplete:
		return bytes.Equal(domain.NormalJSON(t.Result), domain.NormalJSON(d.Result))
	case events.TaskEnd:
		return t.Reason == d.Reason && t.Detail == d.Detail
	}
	return false
}

func (t Task) event(c Command, meta domain.Metadata) domain.Decision {
	data, err := domain.Encode(c.Data)
	if err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
	}
	evs := []events.Event{{Type: c.Type, Aggregate: "task", ID: c.ID, Timestamp: meta.Now, Data: data}}
	if err := domain.CarryState(t, evs, Evolve); err != nil {
		return domain.Refuse(domain.Errorf(domain.Internal, "event.fold", "%v", err))
	}
	return domain.Decision{Outcome: domain.Accepted, Events: evs}
}
